"""The pages of the questions: criteria, text and pictures of each, by its name."""

from dataclasses import dataclass
from typing import Any

from reproduction.panels import markdown
from reproduction.questions import (
    distance,
    distance_report,
    fashion,
    fashion_report,
    ghost_size,
    ghost_size_report,
    onset,
    onset_report,
)


@dataclass(frozen=True)
class Page:
    """What makes a page.

    Args:
        criteria: A class.
        text: Makes the generated part of criteria, content and pictures.
        pictures: By name: what draws one, its panels, and what it shows.
    """

    criteria: Any
    text: Any
    pictures: dict[str, tuple[Any, int, str]]

    def make(self, name, content):
        """The generated part.

        Args:
            name: The question's.
            content: Of `results.json`.
        """
        shown = {
            picture: markdown(name, picture, panels, title)
            for picture, (_, panels, title) in self.pictures.items()
        }
        return self.text(self.criteria(name), content, shown)


PAGES = {
    ghost_size.NAME: Page(
        ghost_size.GhostSizes,
        ghost_size_report.page,
        {"cells": (ghost_size_report.draw, 1, "Accuracy over the ghost batch, a line a batch")},
    ),
    onset.NAME: Page(
        onset.Onsets,
        onset_report.page,
        {"errors": (onset_report.draw, 2, "Test error over the batch, a line a training set")},
    ),
    distance.NAME: Page(
        distance.Distances,
        distance_report.page,
        {
            "steered": (distance_report.draw, 2, "Distance and accuracy of the steered arms"),
            "along": (distance_report.draw_along, 3, "Accuracy of the five arms on the way"),
        },
    ),
    fashion.NAME: Page(fashion.Fashion, fashion_report.page, {}),
}
