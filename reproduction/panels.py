"""Pictures for the site: a file a panel and a theme, so that a phone shows each whole."""

import io

from reproduction.plotting import THEMES, themed
from reproduction.runs import write_atomically

SIZE = (5.2, 3.7)  # inches; text of 10 points is read well at the 390 pixels of a phone


class Panels:
    """In place of a matplotlib figure: each of its panels is a figure of its own."""

    def __init__(self):
        self.figures, self.shared = [], False

    def subplots(self, rows=1, columns=1, *, sharey=False, width_ratios=None):  # noqa: ARG002
        """The axes, as a figure's `subplots` gives them; widths are all the same here."""
        self.shared = sharey
        axes = [self.add_subplot() for _ in range(rows * columns)]
        return axes[0] if len(axes) == 1 else axes

    def add_subplot(self, *place):  # noqa: ARG002 - the next figure is the next place
        """The axes of one more panel."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=SIZE, layout="constrained", facecolor="none")
        FigureCanvasAgg(figure)
        self.figures.append(figure)
        axes = figure.subplots()
        axes.set_facecolor("none")
        return axes

    def finish(self):
        """Gives panels that share their y axis the same limits."""
        axes = [figure.axes[0] for figure in self.figures]
        if self.shared:
            limits = [each.get_ylim() for each in axes]
            ends = min(low for low, _ in limits), max(high for _, high in limits)
            for each in axes:
                each.set_ylim(*ends)


def write(folder, name, draw):
    """Writes SVG files `NAME-1-light.svg`, `NAME-1-dark.svg`, `NAME-2-light.svg`, ....

    Args:
        folder: Where they go.
        name: How the files' names begin.
        draw: Draws on a figure, or what looks like one.

    Returns:
        How many panels there are.
    """
    for theme in THEMES:
        with themed(theme):
            panels = Panels()
            draw(panels)
            panels.finish()
            for number, figure in enumerate(panels.figures, 1):
                # The same picture is the same file: no date, no random names.
                text = io.StringIO()
                figure.savefig(text, format="svg", metadata={"Date": None}, facecolor="none")
                path = folder / f"{name}-{number}-{theme}.svg"
                write_atomically(path, lambda part, text=text: part.write_text(text.getvalue()))
    return len(panels.figures)


def markdown(folder, name, count, title):
    """The pictures on a page, each in the reader's theme.

    Args:
        folder: Beside the page; where the files are.
        name: How their names begin.
        count: Panels.
        title: What they show, for readers who do not see them.
    """
    lines = []
    for number in range(1, count + 1):
        text = title if count == 1 else f"{title}, {number} of {count}"
        lines += [
            f"![{text}]({folder}/{name}-{number}-{theme}.svg#only-{theme})" for theme in THEMES
        ]
    return "\n".join(lines)
