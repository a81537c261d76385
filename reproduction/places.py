"""Where results are shown that have a page, or a part of one, of their own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from reproduction import (
    collapse,
    controls_report,
    demo_report,
    minima_report,
    moments_page,
    moments_report,
    panels,
)
from reproduction.controls import Controls
from reproduction.questions import (
    distance,
    distance_report,
    fashion,
    fashion_report,
    ghost_size,
    ghost_size_report,
    mismatch,
    mismatch_report,
    onset,
    onset_report,
    remedies,
    remedies_report,
)


@dataclass(frozen=True)
class Picture:
    """A picture of published results.

    Args:
        draw: Takes a figure, or what looks like one, and the content of `results.json`.
        panels: How many it has.
        title: What it shows, for readers who do not see it.
    """

    draw: Callable[[Any, dict[str, Any]], None]
    panels: int
    title: str


@dataclass(frozen=True)
class Place:
    """The part of a page between its marks.

    Args:
        page: Its path from the repository's root.
        text: Makes the part of the content of `results.json`, and of the pictures' Markdown by
            name. That of a question takes its criteria before these.
        pictures: By the name of their files.
        mark: The name of the page's marks, where it has several.
    """

    page: str
    text: Callable[[dict[str, Any], dict[str, str]], str]
    pictures: dict[str, Picture] = field(default_factory=dict)
    mark: str = ""

    def make(self, content, folder):
        """The part.

        Args:
            content: Of `results.json`.
            folder: Where the pictures are, from the page.
        """
        shown = {
            name: panels.markdown(folder, name, picture.panels, picture.title)
            for name, picture in self.pictures.items()
        }
        return self.text(content, shown)


def _question(name, criteria_class, report, **pictures):
    """Pictures by name: what draws one from a figure, the criteria and the content, and so on."""
    criteria = criteria_class(name)
    return Place(
        f"docs/evidence/{name}.md",
        partial(report.page, criteria),
        {
            name: Picture(lambda on, content, draw=draw: draw(on, criteria, content), *more)
            for name, (draw, *more) in pictures.items()
        },
    )


# By the folder of the results in `docs/evidence`.
PLACES = {
    "controls": _question(
        "controls",
        Controls,
        controls_report,
        arms=(
            lambda on, _, content: demo_report.draw(on, content),
            1,
            "Test accuracy of the five arms: mean, standard deviation and each seed",
        ),
    ),
    "statistics": _question("statistics", Controls, controls_report),
    ghost_size.NAME: _question(
        ghost_size.NAME,
        ghost_size.GhostSizes,
        ghost_size_report,
        cells=(ghost_size_report.draw, 1, "Accuracy over the ghost batch, one line per batch"),
    ),
    onset.NAME: _question(
        onset.NAME,
        onset.Onsets,
        onset_report,
        errors=(onset_report.draw, 2, "Test error over the batch, one line per training set"),
    ),
    distance.NAME: _question(
        distance.NAME,
        distance.Distances,
        distance_report,
        steered=(distance_report.draw, 2, "Distance and accuracy of the steered arms"),
        along=(distance_report.draw_along, 3, "Accuracy of the five arms along the training"),
    ),
    fashion.NAME: _question(fashion.NAME, fashion.Fashion, fashion_report),
    mismatch.NAME: _question(mismatch.NAME, mismatch.Mismatch, mismatch_report),
    remedies.NAME: _question(
        remedies.NAME,
        remedies.Remedies,
        remedies_report,
        remedies=(remedies_report.draw, 1, "Accuracy of each remedy, alone and with ghosts"),
    ),
    "moments": Place(
        "docs/evidence/moments.md",
        moments_page.page,
        {
            "figure": Picture(
                lambda on, content: moments_report.draw(
                    on, content["summary"], content["settings"]
                ),
                2,
                "Deviation over the updates of the larger batch, for eight optimizers",
            )
        },
    ),
    "digits": Place(
        "docs/evidence/when-it-does-nothing.md", lambda content, _: demo_report.digits(content)
    ),
    "collapse": Place("docs/methods/lars.md", collapse.page),
    "minima": Place(
        "docs/instruments.md",
        minima_report.page,
        {
            "figure": Picture(
                lambda on, content: minima_report.draw(
                    on, content["trainings"], content["paths"], content["scored_on"]
                ),
                3,
                "Loss between the minima; accuracy over sharpness; accuracy over eigenvalue",
            )
        },
    ),
}
# By the page of a method, its names among the remedies.
CARDS = {
    "ghost-batch-norm": ("rate",),
    "square-root-rate": ("+LR",),
    "regime-adaptation": ("longer",),
    "gradient-noise": ("noise",),
    "discarding-small-losses": ("discard",),
    "lars": ("LARS",),
    "lamb": ("LAMB",),
    "percent-delta": ("PercentDelta",),
    "mclr": ("MCLR",),
    "cblr": ("CBLR",),
    "batch-stages": ("stages", "batch follows"),
    "ghost-noise": ("ghost noise",),
    "sharpness-aware": ("SAM", "ASAM", "SAM by groups"),
}
# Results that are shown elsewhere too.
ALSO = (
    ("controls", Place("README.md", lambda content, _: demo_report.proof(content))),
    ("controls", Place("docs/index.md", lambda content, _: demo_report.headline(content))),
    *(
        (
            remedies.NAME,
            Place(
                f"docs/methods/{page}.md",
                lambda content, _, names=names: remedies_report.card(content, *names),
                mark=remedies.NAME,
            ),
        )
        for page, names in CARDS.items()
    ),
)
