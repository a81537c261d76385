"""The picture of `closing_the_gap.py`: accuracies on the left, weight distances on the right."""

import contextlib
import statistics

from _report import QUICK, by_arm, spread
from _runs import write_atomically

# Okabe and Ito's colours, which colour-blind readers can tell apart; the markers tell as much.
STYLES = {
    "SB": ("#000000", "o", "-"),
    "LB": ("#D55E00", "s", "-"),
    "+LR": ("#E69F00", "^", "--"),
    "+GBN": ("#0072B2", "D", "-"),
    "+RA": ("#009E73", "v", ":"),
}


def write(path, results, title, accuracy, quick=False):
    """Draw the results and write them as PNG.

    Args:
        path: Where the picture goes.
        results: The trainings.
        title: Heading of the picture.
        accuracy: What the accuracies were measured on, for the axis.
        quick: Whether to mark the picture as no evidence.
    """
    with written(path, title, quick) as picture:
        draw(picture, results, accuracy)


@contextlib.contextmanager
def written(path, title, quick=False, size=(10, 4.4), dpi=150):
    """An empty figure to draw on; what is drawn gets its heading and is written as PNG.

    Args:
        path: Where the picture goes.
        title: Its heading.
        quick: Whether to mark the picture as no evidence.
        size: Width and height in inches.
        dpi: Dots an inch.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Without pyplot: no window, no global state, nothing to close.
    picture = Figure(figsize=size, layout="constrained", dpi=dpi)
    FigureCanvasAgg(picture)
    yield picture
    picture.suptitle(f"{title}\n{QUICK}" if quick else title, fontsize=11)
    write_atomically(path, lambda part: picture.savefig(part, format="png"))


def draw(picture, results, accuracy):
    """Draw the two panels on an empty figure; the arguments are those of `write`."""
    left, right = picture.subplots(1, 2, width_ratios=(1, 1.3))
    _accuracies(left, by_arm(results, "test_accuracy"), accuracy)
    _distances(right, by_arm(results, "weight_distance"))


def _accuracies(axes, accuracies, label):
    for place, (arm, values) in enumerate(accuracies.items()):
        color, marker, _ = STYLES[arm]
        points = [100 * value for value in values]
        mean, deviation = statistics.fmean(points), spread(points)
        offsets = [0.07 * (i - (len(points) - 1) / 2) for i in range(len(points))]
        axes.plot(
            [place + 0.2 + offset for offset in offsets],
            points,
            marker,
            color=color,
            markersize=4,
            alpha=0.6,
            markeredgewidth=0,
        )
        error = deviation if len(points) > 1 else None
        axes.errorbar(place, mean, error, color=color, marker=marker, markersize=8, capsize=4)
        axes.annotate(
            f"{mean:.1f}",
            (place, mean),
            textcoords="offset points",
            xytext=(-9, 0),
            ha="right",
            va="center",
            fontsize=9,
        )
    axes.set_xticks(range(len(accuracies)), list(accuracies))
    axes.set_xlim(-0.7, len(accuracies) - 0.4)
    axes.set_ylabel(f"accuracy, %, on {label}")
    axes.set_title("mean ± standard deviation, and each seed", fontsize=9)
    tidy(axes)


def _distances(axes, histories):
    for arm, trainings in histories.items():
        color, marker, style = STYLES[arm]
        # All trainings of an arm measure at the same updates, so that a mean is one of equals.
        updates = trainings[0]["update"]
        columns = zip(*(training["distance"] for training in trainings), strict=True)
        distances = [statistics.fmean(column) for column in columns]
        axes.plot(updates, distances, style, color=color, linewidth=1.6, label=arm)
        axes.plot(updates[-1], distances[-1], marker, color=color, markersize=7)
    axes.set_xscale("log")
    axes.set_xlabel("optimizer updates")
    axes.set_ylabel("weight distance from the start")
    axes.set_title("mean over the seeds; the marker is the end of the training", fontsize=9)
    axes.legend(frameon=False, loc="upper left")
    tidy(axes)


def tidy(axes, grid="y"):
    """No frame, and pale lines across one axis."""
    axes.grid(axis=grid, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
