"""What the pictures are drawn with, and that of the demo's five arms."""

import contextlib
import statistics

from reproduction.runs import QUICK, write_atomically
from reproduction.statistics import by_arm, spread

# Okabe and Ito's colours, which colour-blind readers can tell apart; the markers tell as much. The
# first is that of the theme, black or white.
COLORS = ("C0", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#999999")
MARKERS = "osD^v<>p"
LINES = ("-", "-", "-", "--", "--", "--", ":", ":")
# Of the demo's arms, in the same colours.
STYLES = {
    "SB": ("C0", "o", "-"),
    "LB": ("#D55E00", "s", "-"),
    "+LR": ("#E69F00", "^", "--"),
    "+GBN": ("#0072B2", "D", "-"),
    "+RA": ("#009E73", "v", ":"),
}

# By theme: text and lines, grid, and the first colour of a series, which is drawn as "C0".
THEMES = {"light": ("#333333", "#e2e2e2", "#000000"), "dark": ("#d8d8d8", "#4a4a4a", "#ffffff")}


def settings(ink, grid, first):
    """Matplotlib's settings for the three colors of a theme, in the order of `THEMES`."""
    import matplotlib as mpl

    inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    return {
        **dict.fromkeys(inked, ink),
        "grid.color": grid,
        "axes.prop_cycle": mpl.cycler(color=[first, *COLORS[1:]]),
        "svg.hashsalt": "keras_bigbatch",
        "font.size": 10,
    }


@contextlib.contextmanager
def themed(theme):
    """Matplotlib's colours of a theme."""
    import matplotlib as mpl

    with mpl.rc_context(settings(*THEMES[theme])):
        yield


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

    with themed("light"):
        # Without pyplot: no window, nothing to close.
        picture = Figure(figsize=size, layout="constrained", dpi=dpi)
        FigureCanvasAgg(picture)
        yield picture
        picture.suptitle(f"{title}\n{QUICK}" if quick else title, fontsize=11)
        write_atomically(path, lambda part: picture.savefig(part, format="png"))


def draw_arms(picture, results, accuracy):
    """Accuracies on the left, weight distances on the right.

    Args:
        picture: An empty figure.
        results: The trainings.
        accuracy: What the accuracies were measured on, for the axis.
    """
    left, right = picture.subplots(1, 2, width_ratios=(1, 1.3))
    draw_accuracies(left, results, accuracy)
    _distances(right, by_arm(results, "weight_distance"))


def draw_accuracies(axes, results, label):
    """The arms' accuracies: means, deviations and each seed.

    Args:
        axes: Where to draw.
        results: The trainings.
        label: What the accuracies were measured on.
    """
    accuracies = by_arm(results, "test_accuracy")
    for place, (arm, values) in enumerate(accuracies.items()):
        color, marker, _ = STYLES[arm]
        points = [100 * value for value in values]
        mean, deviation = statistics.fmean(points), spread(points)
        step = min(0.07, 0.4 / len(points))
        axes.plot(
            [place + 0.13 + step * number for number in range(len(points))],
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
    axes.set(xscale="log", xlabel="optimizer updates", ylabel="weight distance from the start")
    axes.set_title("mean over the seeds; the marker is the end of the training", fontsize=9)
    axes.legend(frameon=False, loc="upper left")
    tidy(axes)


def tidy(axes, grid="y"):
    """No frame, and pale lines across one axis."""
    axes.grid(axis=grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def style(number):
    """Colour, marker and line of the series with a number."""
    number %= len(COLORS)
    return {"color": COLORS[number], "marker": MARKERS[number], "linestyle": LINES[number]}


def means(axes, x, values, number=0, label=None):
    """Means over the seeds as a line, deviations as bars.

    Args:
        axes: Where to draw.
        x: Places, a list.
        values: For each place the seeds' values.
        number: Of the series, for its colour, marker and line.
        label: For the legend.
    """
    centres = [statistics.fmean(each) for each in values]
    deviations = [0.0 if len(each) < 2 else spread(each) for each in values]
    axes.errorbar(x, centres, deviations, capsize=3, markersize=5, label=label, **style(number))


def curves(axes, x, seeds, number=0, label=None):
    """The seeds' mean as a line, and their range as a band.

    Args:
        axes: Where to draw.
        x: Places, a list.
        seeds: For each seed its curve, all of x's length.
        number: Of the series.
        label: For the legend.
    """
    columns = list(zip(*seeds, strict=True))
    look = style(number)
    del look["marker"]
    centres = [statistics.fmean(column) for column in columns]
    axes.plot(x, centres, linewidth=1.5, label=label, **look)
    low, high = [min(column) for column in columns], [max(column) for column in columns]
    axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
