"""Which noise scale predicts the batch at which the gap begins, from the JSON alone."""

import itertools
import math
from statistics import fmean, geometric_mean

from reproduction.paired import with_interval
from reproduction.report import markdown_table
from reproduction.statistics import by_arm


def noise_text(criteria, content):
    """Both noise scales, where the gap begins, and which of them is nearer."""
    if not content["noise"]:
        return ""
    rows, scales = [], {"SGD": [], "Adam": []}
    shares = criteria.content["noise"]["shares"]
    for place, share in enumerate(shares):
        cells = []
        for kind, found in scales.items():
            values = [each["points"][place][kind] for each in content["noise"]]
            found += values
            cells.append(", ".join(f"{value:.0f}" for value in values))
        rows.append([f"{share:.0%} of the training", *cells])
    means = {kind: geometric_mean(values) for kind, values in scales.items()}
    rows.append(["geometric mean", *(f"{mean:.0f}" for mean in means.values())])
    table = markdown_table(["", "SGD's, samples (one per seed)", "Adam's"], rows)
    batches, sizes = accuracy_by_batch(content), content["sizes"]
    curve = markdown_table(
        ["batch, AdamW, square root rule", *map(str, batches)],
        [["test accuracy, %", *(with_interval(scores) for scores in batches.values())]],
    )
    begins = gap_begins({batch: 100 * fmean(s) for batch, s in batches.items()}, sizes["margin"])
    return (
        f"{table}\n\n{curve}\n\n{_prediction(means, begins, criteria.content['noise']['factor'])}"
    )


def accuracy_by_batch(content):
    """By batch, the accuracies of AdamW by the square root rule at equal epochs."""
    scores, sizes = by_arm(content["trainings"], "test_accuracy"), content["sizes"]
    arms = {sizes["small_batch"]: "AdamW small", sizes["large_batch"]: "AdamW sqrt x1"}
    arms |= {batch: f"batches sqrt {batch} x1" for batch in sizes["batches"]}
    return {batch: scores[arms[batch]] for batch in sorted(arms)}


def gap_begins(accuracies, margin):
    """The batch at which accuracy falls below the smallest batch's less the margin, or None.

    Args:
        accuracies: By batch, ascending, in percent; interpolated over the batch's logarithm.
        margin: In points.
    """
    pairs = list(accuracies.items())
    level = pairs[0][1] - margin
    for (batch, above), (larger, below) in itertools.pairwise(pairs):
        if below < level:
            share = (above - level) / (above - below)
            return batch * (larger / batch) ** share
    return None


def _prediction(means, begins, factor):
    if begins is None:
        return "There is no gap at these batches."
    off = {kind: abs(math.log(mean / begins)) for kind, mean in means.items()}
    near = min(off, key=off.get)
    text = f"The gap begins at a batch of {begins:.0f}."
    if off[near] > math.log(factor):
        return f"{text} Both scales are off by more than a factor of {factor}: neither predicts it."
    times = ", ".join(f"{kind}'s scale is {means[kind] / begins:.2g} times that" for kind in means)
    return f"{text} {times}: {near}'s predicts it better."
