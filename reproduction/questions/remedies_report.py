"""From the trainings of the remedies to their page, from the JSON alone."""

from statistics import fmean

from reproduction.moves.report import decisions, ended, hypotheses_table
from reproduction.paired import OverSeeds, with_interval
from reproduction.plotting import COLORS, tidy
from reproduction.questions.remedies import SMALL_BATCH
from reproduction.report import markdown_table
from reproduction.statistics import by_arm

PLAIN = "rate"  # the large batch with a tuned rate, which each remedy is compared with
GHOSTS = ", ghosts"  # how the name of an arm with ghost batches ends


def page(criteria, content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    return ended(
        content,
        "## One table",
        remedies_table(content),
        pictures["remedies"],
        "## The differences",
        hypotheses_table(criteria, content),
        decisions(criteria, [content]),
        "## The settings that were tried",
        tries_table(content),
    )


def remedies_table(content):
    """A row a remedy: accuracy alone and with ghost batches, and what it cost alone."""
    trainings = content["trainings"]
    scores, fits = (by_arm(trainings, f"{part}_accuracy") for part in ("test", "train"))
    costs = {name: by_arm(trainings, name) for name in ("updates", "samples", "seconds")}
    rows = []
    for name in _remedies(scores):
        arms = [arm for arm in (name, name + GHOSTS) if arm in scores]
        cells = [with_interval(scores.get(arm, ()), fits.get(arm)) for arm in (name, name + GHOSTS)]
        updates, samples, seconds = (fmean(costs[cost][arms[0]]) for cost in costs)
        rows.append([name, *cells, f"{updates:,.0f}", f"{samples:,.0f}", f"{seconds:.1f}"])
    heading = ["", "alone", "with ghosts of 8", "updates", "samples", "seconds"]
    note = (
        f"Test accuracy in %, mean over {len(content['seeds'])} seeds ± half of the 95 % interval. "
        "An asterisk marks a mean training accuracy below 99 %. Updates, samples and seconds are "
        "those without ghosts where both were run. The seconds leave out compilation."
    )
    return f"{markdown_table(heading, rows)}\n\n{note}"


def tries_table(content):
    """A row an arm: held-out accuracy of each try, the best one marked."""
    rows = [
        [
            arm,
            "; ".join(
                f"{_named(name, content['chosen'][arm])} {found:.1f}"
                for name, found in tried.items()
            ),
        ]
        for arm, tried in content["sweeps"].items()
    ]
    table = markdown_table(["arm", "setting and held-out accuracy in %"], rows)
    return (
        f"{table}\n\nA setting is a rate, with the remedy's strength after a comma. The chosen one "
        "is in bold."
    )


def card(content, *names):
    """What a method's card says of it: its accuracies, below them those that it stands beside.

    Args:
        content: Of `results.json`.
        names: The remedies', or that of the tuned rate alone.
    """
    scores, chosen = by_arm(content["trainings"], "test_accuracy"), content["chosen"]

    def cell(arm):
        rate = chosen.get(arm, "").partition(",")[0]
        at = f", rate {rate}" if rate else ""
        return with_interval(scores[arm]) + at if arm in scores else ""

    beside = {PLAIN: "SGD, tuned rate", SMALL_BATCH: "SGD, batch of 40"}
    labels = {name: f"**{name}**" for name in names} | beside
    rows = [[label, cell(arm), cell(arm + GHOSTS)] for arm, label in labels.items()]
    return (
        f"{markdown_table(['', 'plain batch norm', 'ghosts of 8'], rows)}\n\n"
        f"Test accuracy in %, mean over {len(content['seeds'])} seeds ± half of the 95 % interval, "
        "each with the best of six settings. See [every remedy in one table]"
        "(../evidence/remedies.md)."
    )


def _named(name, chosen):
    return f"**{name}**" if name == chosen else name


def _remedies(scores):
    return list(dict.fromkeys(arm.removesuffix(GHOSTS) for arm in scores))


def draw(picture, criteria, content):  # noqa: ARG001 - the criteria decide nothing of it
    """Accuracies alone and with ghost batches, with their 95 % intervals."""
    scores = by_arm(content["trainings"], "test_accuracy")
    axes = picture.subplots()
    names = _remedies(scores)
    for number, (suffix, label) in enumerate((("", "alone"), (GHOSTS, "with ghosts of 8"))):
        places = [place for place, name in enumerate(names) if name + suffix in scores]
        found = [
            OverSeeds(tuple(100 * score for score in scores[names[place] + suffix]))
            for place in places
        ]
        means = [each.mean for each in found]
        halves = [each.interval()[1] - each.mean for each in found]
        axes.errorbar(
            means,
            [place + 0.15 * (2 * number - 1) for place in places],
            None,
            halves,
            "os"[number],
            color=COLORS[number + 1],
            markersize=4,
            capsize=2,
            label=label,
        )
    small = 100 * fmean(scores[names[0]])
    axes.axvline(small, color=COLORS[0], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy, %; dotted: the small batch")
    axes.legend(frameon=False, fontsize=8)
    tidy(axes, "x")
