"""The picture of `compare_minima.py`: the paths, and accuracy beside flatness, seed by seed."""

from _figure import STYLES, tidy, written
from _report import by_arm

LINES = {"interpolated": ("#D55E00", "-"), "estimated": ("#0072B2", "--")}


def write(path, results, paths, title, accuracy, quick=False):
    """Draw the results and write them as PNG.

    Args:
        path: Where the picture goes.
        results: The trainings.
        paths: By seed the losses along the line from SB to LB.
        title: Heading of the picture.
        accuracy: What the accuracies were measured on, for the axis.
        quick: Whether to mark the picture as no evidence.
    """
    with written(path, title, quick, size=(12, 4.2)) as picture:
        left, middle, right = picture.subplots(1, 3, width_ratios=(1.2, 1, 1))
        _paths(left, paths)
        right.sharey(middle)
        _scatter(middle, results, "sharpness", "sharpness, box 1e-3, %")
        _scatter(right, results, "top_eigenvalue", "top eigenvalue of the Hessian")
        middle.set_ylabel(f"accuracy, %, on {accuracy}")
        right.tick_params(labelleft=False)
        right.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)


def _paths(axes, paths):
    for how, (color, style) in LINES.items():
        for number, path in enumerate(paths.values()):
            label = f"{how} statistics" if number == 0 else None
            axes.plot(path["alphas"], path[how], style, color=color, linewidth=1.3, label=label)
    axes.set_yscale("log")
    for place, arm in ((0, "SB"), (1, "LB")):
        axes.axvline(place, color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(
            arm,
            (place, 1),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            xytext=(3, -3),
            va="top",
            fontsize=9,
        )
    axes.set_xticks([-0.5, 0, 0.5, 1, 1.5])
    axes.set_xlabel("place on the straight line from SB (0) to LB (1)")
    axes.set_ylabel("training loss")
    axes.set_title("the loss between the minima; a line a seed", fontsize=9)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    tidy(axes)


def _scatter(axes, results, key, label):
    accuracies = by_arm(results, "test_accuracy")
    for arm, values in by_arm(results, key).items():
        color, marker, _ = STYLES[arm]
        points = [100 * accuracy for accuracy in accuracies[arm]]
        axes.plot(values, points, marker, color=color, markersize=7, alpha=0.8, label=arm)
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_title("a point a training; flatter is left", fontsize=9)
    tidy(axes)
