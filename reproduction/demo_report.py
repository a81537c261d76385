"""The demo's five arms on the README and on the page of data sets without a gap."""

from statistics import fmean

from reproduction.controls_report import arms_table
from reproduction.paired import contrast, with_interval
from reproduction.report import made_by, markdown_table, seeds, wrapped
from reproduction.statistics import by_arm


def proof(content):
    """The README's table, a row an arm, and what is left of the gap.

    Args:
        content: Of the `results.json` of the demo's row.
    """
    trainings = content["trainings"]
    scores = by_arm(trainings, "test_accuracy")
    costs = {name: by_arm(trainings, name) for name in ("batch", "updates", "samples")}
    rows = [
        [arm, *(f"{fmean(costs[name][arm]):,.0f}" for name in ("batch", "updates", "samples"))]
        for arm in scores
    ]
    for row in rows:
        row.insert(2, f"**{with_interval(scores[row[0]])}**")
    heading = ["", "batch", "test accuracy, %", "updates", "samples"]
    fits = min(map(fmean, by_arm(trainings, "train_accuracy").values()))
    return "\n\n".join(
        [
            markdown_table(heading, rows),
            f"Mean over {len(content['seeds'])} seeds ± half of the 95 % interval, on "
            f"{trainings[0]['scored']:,} test samples of MNIST-1D that no setting was chosen on. "
            f"Every arm reaches {100 * fits:.1f} % training accuracy or more.",
            f"The large batch loses {_points(trainings, 'SB', 'LB')} points to the small one. With "
            f"everything together {_points(trainings, 'SB', '+RA')} are left: the scaled rate "
            f"brings {_points(trainings, '+LR', 'LB')}, ghost batches "
            f"{_points(trainings, '+GBN', '+LR')}, and a regime of three times the epochs "
            f"{_points(trainings, '+RA', '+GBN')}. In brackets: 95 % intervals.",
        ]
    )


def _points(trainings, better, than):
    """As in "3.95 (3.51 to 4.38)"."""
    gain = contrast(trainings, [better], [than])
    low, high = gain.interval()
    return f"{gain.mean:.2f} ({low:.2f} to {high:.2f})"


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
