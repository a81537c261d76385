"""What the figures draw with: means with deviations, and curves with the range of the seeds."""

import statistics

from _report import spread

# Okabe and Ito's colours, which colour-blind readers can tell apart; the markers tell as much.
COLORS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#999999")
MARKERS = "osD^v<>p"
LINES = ("-", "-", "-", "--", "--", "--", ":", ":")


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
