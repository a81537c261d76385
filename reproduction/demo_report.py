"""The demo's five arms where the site shows them beside their own page."""

from statistics import fmean

from reproduction.controls_report import arms_table
from reproduction.paired import contrast, with_interval
from reproduction.plotting import draw_accuracies
from reproduction.recipes.rows import ARMS
from reproduction.report import made_by, markdown_table, seeds, wrapped
from reproduction.statistics import by_arm


def proof(content):
    """The README's table, a row an arm, and what is left of the gap.

    Args:
        content: Of the controls' `results.json`.
    """
    trainings = content["trainings"]
    scores = by_arm(trainings, "test_accuracy")
    costs = {name: by_arm(trainings, name) for name in ("batch", "updates", "samples")}
    rows = []
    for arm in ARMS:
        batch, updates, samples = (f"{fmean(found[arm]):,.0f}" for found in costs.values())
        rows.append([arm, batch, f"**{with_interval(scores[arm])}**", updates, samples])
    heading = ["", "batch", "test accuracy, %", "updates", "samples"]
    fits = by_arm(trainings, "train_accuracy")
    worst = 100 * min(fmean(fits[arm]) for arm in ARMS)
    return "\n\n".join(
        [
            markdown_table(heading, rows),
            f"MNIST-1D, mean over {len(content['seeds'])} seeds ± half of the 95 % interval, on "
            f"{content['scored_on']} that nobody had looked at before. The lowest mean training "
            f"accuracy of any arm is {worst:.2f} %.",
            f"The large batch is {_points(trainings, 'SB', 'LB')} points behind the small one. "
            f"With everything together, {_points(trainings, 'SB', '+RA')} remain. The scaled rate "
            f"adds {_points(trainings, '+LR', 'LB')}, ghost batches "
            f"{_points(trainings, '+GBN', '+LR')}, and the longer regime "
            f"{_points(trainings, '+RA', '+GBN')}. Ghosts of 8 help the small batch too, by "
            f"{_points(trainings, 'SB, ghosts of 8', 'SB')}. With the paper's ghosts, as large as "
            f"the small batch, {_points(trainings, 'SB', '+RA, ghosts of 40')} remain.",
        ]
    )


def headline(content):
    """What is lost and what is left.

    Args:
        content: Of the controls' `results.json`.
    """
    trainings = content["trainings"]
    batches = by_arm(trainings, "batch")
    ratio = batches["LB"][0] / batches["SB"][0]
    form = "**{:.1f}** points ({:.1f} to {:.1f})"
    lost, left = (_points(trainings, "SB", arm, form) for arm in ("LB", "+RA"))
    return (
        f"With a batch {ratio:g} times as large, a network on MNIST-1D (4,000 generated samples of "
        f"one-dimensional digits) loses {lost} of test accuracy. Ghost batch norm, a scaled "
        f"learning rate and a longer regime reduce this to {left}. {len(content['seeds'])} seeds, "
        "95 % intervals: [how it was measured](evidence/controls.md)."
    )


def draw(picture, content):
    """The accuracies of the five arms, seed by seed."""
    five = [each for each in content["trainings"] if each["arm"] in ARMS]
    draw_accuracies(picture.subplots(), five, content["scored_on"])


def _points(trainings, better, than, form="{:.2f} ({:.2f} to {:.2f})"):
    """As in "3.95 (3.51 to 4.38)"."""
    gain = contrast(trainings, [better], [than])
    return form.format(gain.mean, *gain.interval())


def digits(content):
    """The five arms on the digits.

    Args:
        content: Of `results.json`.
    """
    trainings = content["trainings"]
    return "\n\n".join(
        [
            arms_table(trainings),
            f"SB is {_points(trainings, 'SB', 'LB')} points better than LB, and "
            f"{_points(trainings, 'SB', '+RA')} better than +RA. {made_by(content)}, "
            f"{seeds(content['seeds'])}:",
            f"```sh\n{wrapped(content['command'])}\n```",
        ]
    )
