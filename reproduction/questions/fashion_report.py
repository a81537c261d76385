"""From the trainings on all of Fashion-MNIST to their page, from the JSON alone."""

from reproduction.controls_report import arms_table
from reproduction.moves.report import decisions, ended, hypotheses_table
from reproduction.questions.ghost_size_report import rates_table
from reproduction.report import markdown_table


def page(criteria, content, pictures):  # noqa: ARG001 - there is nothing to draw
    """The generated part of a page: the `text` of a `places.Place`."""
    return ended(
        content,
        decisions(criteria, [content]),
        "## The arms",
        arms_table(content["trainings"]),
        chosen_table(content),
        hypotheses_table(criteria, content),
        rates_table(content),
    )


def chosen_table(content):
    """A row an arm: the rate that its case was given, before the rule of its arm."""
    rows = [[arm, f"{rate:g}"] for arm, rate in content["rates"].items()]
    return markdown_table(["arm", "chosen initial rate"], rows)
