"""The tutorials' figures as the evidence pages have theirs: SVG, one file for each theme.

A tutorial draws with plain matplotlib. Its kernel draws in stand-ins for the three colors that
depend on the theme, and each file has those of its theme instead.
"""

from reproduction.panels import SIZE
from reproduction.plotting import THEMES, settings

# Not black or white: matplotlib leaves black out of a file, as it is what SVG fills with anyway.
STAND_INS = ("#010203", "#010204", "#010205")
# What `plotting.tidy` does to axes, and `panels.Panels` to figures.
STYLE = {
    "figure.figsize": SIZE,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def setup():
    """Code that a kernel runs before a tutorial's own."""
    # The same figure is the same file: no date, no random names.
    return (
        "%matplotlib inline\n"
        "%config InlineBackend.figure_formats = ['svg']\n"
        "%config InlineBackend.print_figure_kwargs = "
        "{'bbox_inches': None, 'metadata': {'Date': None}}\n"
        "import matplotlib as mpl\n"
        "from cycler import cycler\n"
        f"mpl.rcParams.update({settings(*STAND_INS) | STYLE!r})\n"
    )


def write(folder, name, picture):
    """Writes `NAME-light.svg` and `NAME-dark.svg`.

    Args:
        folder: Where they go.
        name: How the files' names begin.
        picture: The SVG that a kernel has drawn.
    """
    for theme, colors in THEMES.items():
        text = picture
        for stand_in, color in zip(STAND_INS, colors, strict=True):
            text = text.replace(stand_in, color)
        (folder / f"{name}-{theme}.svg").write_text(text)


def markdown(name, alternative):
    """The figure on a page beside its files, in the reader's theme.

    Args:
        name: How the files' names begin.
        alternative: What it shows, for readers who do not see it.
    """
    return "\n".join(f"![{alternative}]({name}-{theme}.svg#only-{theme})" for theme in THEMES)
