"""From the trainings on all of Fashion-MNIST to their page, from the JSON alone."""

from reproduction.controls_report import arms_table
from reproduction.moves.report import decisions, hypotheses_table, made_with
from reproduction.questions.ghost_size_report import rates_table
from reproduction.report import markdown_table, wrapped


def page(criteria, content, pictures):  # noqa: ARG001 - there is nothing to draw
    """The whole of the generated part.

    Args:
        criteria: The question's.
        content: Of `results.json`.
        pictures: None.
    """
    parts = [
        decisions(criteria, [content]),
        "## The arms",
        arms_table(content["trainings"]),
        chosen_table(content),
        hypotheses_table(criteria, content),
        rates_table(content),
        made_with(content),
        f"```sh\n{wrapped(content['command'])}\n```",
    ]
    return "\n\n".join(parts)


def chosen_table(content):
    """A row an arm: the rate that its case was given, before the rule of its arm."""
    rows = [[arm, f"{rate:g}"] for arm, rate in content["rates"].items()]
    return markdown_table(["arm", "first rate that was chosen"], rows)
