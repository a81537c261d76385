"""From the trainings and their scores to the page on inference, from the JSON alone."""

from reproduction.moves.report import decisions, ended, hypotheses_table
from reproduction.paired import with_interval
from reproduction.questions.mismatch import STATISTICS, WEIGHED
from reproduction.report import markdown_table
from reproduction.statistics import by_arm


def page(criteria, content, pictures):  # noqa: ARG001 - there is nothing to draw
    """The generated part of a page: the `text` of a `places.Place`."""
    return ended(
        content,
        "## The scores",
        scores_table(content),
        hypotheses_table(criteria, content),
        decisions(criteria, [content]),
        "## The weights that were tried",
        weights_table(content),
    )


def scores_table(content):
    """A row a training: its accuracy in four ways."""
    scores = by_arm(content["trainings"], "test_accuracy")
    kinds = [f"{each}{suffix}" for each in STATISTICS for suffix in ("", WEIGHED)]
    names = dict.fromkeys(arm.rpartition(": ")[0] for arm in scores)
    rows = [[name, *(with_interval(scores[f"{name}: {kind}"]) for kind in kinds)] for name in names]
    note = (
        f"Test accuracy in %, mean over {len(content['seeds'])} seeds ± half of the 95 % interval."
    )
    return f"{markdown_table(['', *kinds], rows)}\n\n{note}"


def weights_table(content):
    """A row a training: held-out accuracy by the weight of a sample, the best one marked."""
    weights = next(iter(content["sweeps"].values()))
    rows = [
        [
            name,
            *(
                f"**{found:.2f}**" if weight == content["chosen"][name] else f"{found:.2f}"
                for weight, found in tried.items()
            ),
        ]
        for name, tried in content["sweeps"].items()
    ]
    table = markdown_table(["weight of a sample", *weights], rows)
    return (
        f"{table}\n\nHeld-out accuracy in %, with renewed statistics. The chosen weight is in bold."
    )
