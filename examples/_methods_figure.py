"""The picture of `large_batch_methods.py`: accuracies on the left, what was tried on the right."""

import statistics

from _figure import tidy, written
from _report import by_arm, spread

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = {"SB": "#000000", "SGD": "#D55E00"}
OTHERS = "#0072B2"
SHOWN = 20  # points below the best that the colours of the right half tell apart


def write(path, results, sweeps, title, quick=False):
    """Draw the results and write them as PNG.

    Args:
        path: Where the picture goes.
        results: The trainings.
        sweeps: By row and rate the held-out accuracy in percent.
        title: Heading of the picture.
        quick: Whether to mark the picture as no evidence.
    """
    accuracies = by_arm(results, "test_accuracy")
    with written(path, title, quick, size=(10, 0.7 + 0.38 * len(accuracies))) as picture:
        left, right = picture.subplots(1, 2, sharey=True, width_ratios=(1.1, 1))
        _accuracies(left, accuracies)
        _sweeps(right, list(accuracies), sweeps)


def _accuracies(axes, accuracies):
    for place, (name, values) in enumerate(accuracies.items()):
        color = COLORS.get(name, OTHERS)
        points = [100 * value for value in values]
        mean = statistics.fmean(points)
        if name in COLORS:
            axes.axvline(mean, color=color, linewidth=0.8, linestyle=":")
        axes.plot(points, [place + 0.25] * len(points), "o", color=color, alpha=0.6, markersize=3)
        error = spread(points) if len(points) > 1 else None
        axes.errorbar(mean, place, None, error, "o", color=color, markersize=7, capsize=4)
    axes.set_yticks(range(len(accuracies)), list(accuracies))
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy, %")
    axes.set_title("mean ± standard deviation, and each seed", fontsize=9)
    tidy(axes, "x")


def _sweeps(axes, names, sweeps):
    top = max((max(tried.values()) for tried in sweeps.values()), default=100)
    for place, name in enumerate(names):
        tried = sweeps.get(name, {})
        best = max(tried, key=tried.get, default=None)
        if not tried:
            axes.text(2, place, "nothing to choose", ha="center", va="center", fontsize=8)
        for column, (rate, accuracy) in enumerate(tried.items()):
            below = min((top - accuracy) / SHOWN, 1)
            color = (1 - 0.75 * below, 1 - 0.35 * below, 1 - 0.2 * below)
            axes.barh(place, 0.96, 0.92, column - 0.48, color=color)
            axes.text(
                column,
                place,
                f"{accuracy:.1f}\n{rate:g}",
                ha="center",
                va="center",
                fontsize=7,
                fontweight="bold" if rate == best else "normal",
            )
    axes.set_xticks([])
    axes.set_xlim(-0.6, 4.6)
    axes.set_title("held-out accuracy, %, and the rate tried; bold: chosen", fontsize=9)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
