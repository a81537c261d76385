"""From the trainings of the controls to their page, from the JSON alone."""

from statistics import fmean

from reproduction.moves.report import decisions, ended, hypotheses_table
from reproduction.paired import with_interval
from reproduction.report import markdown_table
from reproduction.statistics import by_arm


def page(criteria, content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    return ended(
        content,
        "## The arms",
        arms_table(content["trainings"]),
        *pictures.values(),
        "## The differences",
        hypotheses_table(criteria, content),
        decisions(criteria, [content]),
        "## How to reproduce it",
    )


def arms_table(trainings):
    """A row an arm: accuracy, and what it cost."""
    scores, fits = (by_arm(trainings, f"{part}_accuracy") for part in ("test", "train"))
    costs = {name: by_arm(trainings, name) for name in ("updates", "samples", "seconds")}
    rows = [
        [
            arm,
            with_interval(scores[arm], fits[arm]),
            f"{fmean(costs['updates'][arm]):,.0f}",
            f"{fmean(costs['samples'][arm]):,.0f}",
            f"{fmean(costs['seconds'][arm]):.1f}",
        ]
        for arm in scores
    ]
    heading = ["arm", "test accuracy, %", "updates", "samples", "seconds"]
    note = (
        f"Mean over {len(next(iter(scores.values())))} seeds ± half of the 95 % interval. "
        "An asterisk marks a mean training accuracy below 99 %."
    )
    return f"{markdown_table(heading, rows)}\n\n{note}"
