"""From the steered trainings to their page, and what the trainings say on their way."""

import math
from statistics import fmean, median

from reproduction.controls_report import arms_table
from reproduction.moves.report import decisions, ended, hypotheses_table
from reproduction.paired import OverSeeds
from reproduction.plotting import STYLES, tidy
from reproduction.report import markdown_table

FIVE = tuple(STYLES)
# Of the steered arms, the line of the arm that it would be without.
STEERED = {
    "LB at SB's distance": "LB",
    "LB, ghosts of 8, at SB's distance": "+GBN",
    "SB at LB's distance": "SB",
    "+GBN at LB's distance": "+RA",
}


def page(criteria, content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    return ended(
        content,
        decisions(criteria, [content]),
        "## The arms",
        arms_table(content["trainings"]),
        pictures["steered"],
        hypotheses_table(criteria, content),
        tracking_table(criteria, content),
        "## Along the training",
        along_part(criteria, content),
        pictures["along"],
        "## How to reproduce it",
    )


def off_target(result, target):
    """By how much the distance missed its target: the mean over the last half of the epochs.

    Args:
        result: A steered training.
        target: The one that it follows, of the same seed and as many epochs.
    """
    half = len(result["distance"]) // 2
    pairs = zip(result["distance"][half:], target["distance"][half:], strict=True)
    return math.exp(fmean(abs(math.log(one / two)) for one, two in pairs)) - 1


def followed(criteria, content):
    """By steered arm, the arm that it follows."""
    return {arm.name: arm.follows for arm in criteria.arms(content["data"]) if arm.follows}


def tracking_table(criteria, content):
    """A row a steered arm: how well the distances meet, and what the rate was multiplied by."""
    named = {(each["arm"], each["seed"]): each for each in content["trainings"]}
    rows = []
    for arm, follows in followed(criteria, content).items():
        mine = [each for each in content["trainings"] if each["arm"] == arm]
        missed = [off_target(each, named[follows, each["seed"]]) for each in mine]
        ends = [
            fmean(each["distance"][-1] for each in some)
            for some in (mine, [named[follows, each["seed"]] for each in mine])
        ]
        factors = [factor for each in mine for factor in each["steered"]]
        rows.append(
            [
                arm,
                f"{ends[0]:.1f}, target {ends[1]:.1f}",
                f"{fmean(missed):.1%}" + " (they do not meet)" * (fmean(missed) > 0.1),
                f"{min(factors):.2g} to {max(factors):.2g}",
            ]
        )
    heading = ["arm", "final distance and its target", "apart", "rate factor"]
    return f"{markdown_table(heading, rows)}\n\nApart: mean over the last half of the epochs."


def along_part(criteria, content):
    """What the five arms say on their way: over-fitting, and accuracy by updates and seconds."""
    margin = criteria.content["data"][content["data"]]["margin"]
    arm = criteria.content["along"]["arm"]
    lost = OverSeeds(
        tuple(
            100 * (max(row["val_accuracy"] for row in each["along"]) - each["test_accuracy"])
            for each in content["trainings"]
            if each["arm"] == arm
        )
    )
    low, high = lost.interval()
    word = "It does not overfit" if high < margin else "We cannot tell whether it overfits"
    if low > margin:
        word = "It overfits"
    return "\n\n".join(
        [
            f"{word}: the best test accuracy of {arm} along the training is "
            f"{lost.mean:.2f} points ({low:.2f} to {high:.2f}) above its last one.",
            costs_table(content),
        ]
    )


def seconds_at(result, epoch):
    """The seconds of so many epochs, less the compilation, which is in the first one."""
    first, last = result["along"][0], result["along"][-1]
    an_epoch = (last["seconds"] - first["seconds"]) / (last["epoch"] - first["epoch"])
    return an_epoch * epoch


def costs_table(content):
    """A row an arm of the five: updates, samples and seconds to some accuracies."""
    wanted = (80, 85, 90, 92, 94, 95)
    rows = []
    for arm in FIVE:
        mine = [each for each in content["trainings"] if each["arm"] == arm]
        row = [arm]
        for goal in wanted:
            found = [_reached(each, goal / 100) for each in mine]
            # Where a seed never gets there, the others alone would flatter.
            row.append(f"{median(found):.1f}" if all(found) else "-")
        rows.append(row)
    table = markdown_table(["seconds to test accuracy of", *(f"{g} %" for g in wanted)], rows)
    return (
        f"{table}\n\nMedian over the seeds, without compilation, on a core that sometimes did "
        "other work. A dash means that a seed never got there. The accuracy is measured after "
        "some of the epochs only, so the times are rounded up."
    )


def _reached(result, goal):
    for row in result["along"]:
        if row["val_accuracy"] >= goal:
            return seconds_at(result, row["epoch"])
    return None


def draw(picture, criteria, content):
    """Distance over the epochs, and accuracy, of the steered arms and what they follow."""
    left, right = picture.subplots(1, 2)
    for arm, mine in _grouped(content, ("SB", "LB", "+GBN", *followed(criteria, content))).items():
        color, _, line = STYLES[STEERED.get(arm, arm)]
        line = ":" if arm in STEERED else line
        look = {"color": color, "linestyle": line, "label": arm}
        epochs = range(1, len(mine[0]["distance"]) + 1)
        columns = zip(*(each["distance"] for each in mine), strict=True)
        left.plot(epochs, list(map(fmean, columns)), linewidth=1.6, **look)
        right.plot(*_curve(mine, "epoch"), linewidth=1.6, **look)
    left.set(xscale="log", xlabel="epochs", ylabel="distance from the initial weights")
    right.set(xscale="log", xlabel="epochs", ylabel="test accuracy, %", ylim=(40, 98))
    left.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_title("mean over the seeds; dotted: steered", fontsize=9)
        tidy(axes)


def draw_along(picture, criteria, content):  # noqa: ARG001 - as `draw`
    """Test accuracy of the five arms over updates, samples and seconds."""
    arms = _grouped(content, FIVE)
    panels = zip(picture.subplots(1, 3), ("updates", "samples", "seconds"), strict=True)
    for axes, what in panels:
        for arm, mine in arms.items():
            color, _, line = STYLES[arm]
            look = {"color": color, "linestyle": line, "label": arm}
            axes.plot(*_curve(mine, what), linewidth=1.6, **look)
        axes.set(xscale="log", xlabel=what, ylabel="test accuracy, %", ylim=(60, 98))
        axes.set_title("mean over the seeds, on the way", fontsize=9)
        axes.legend(frameon=False)
        tidy(axes)


def _grouped(content, arms):
    seeds = {arm: [] for arm in arms}
    for each in content["trainings"]:
        if each["arm"] in seeds:
            seeds[each["arm"]].append(each)
    return seeds


def _curve(trainings, what):
    """Places and mean accuracies in percent; all trainings of an arm are scored at the same."""
    first = trainings[0]
    places = {
        "epoch": [row["epoch"] for row in first["along"]],
        "updates": [row["updates"] for row in first["along"]],
        "samples": [row["updates"] * first["batch"] for row in first["along"]],
        "seconds": [
            median(seconds_at(each, row["epoch"]) for each in trainings) for row in first["along"]
        ],
    }[what]
    columns = zip(
        *([row["val_accuracy"] for row in each["along"]] for each in trainings), strict=True
    )
    return places, [100 * fmean(column) for column in columns]
