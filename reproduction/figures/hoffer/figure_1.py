"""Hoffer, Hubara & Soudry (2017), Figure 1 (section 1): classification error by batch size.

The paper shows the error of one network, presumably ResNet44 on CIFAR-10, along trainings of as
many epochs at several batches, the recipe unchanged. It gives no numbers and one training each.
Here the test error is measured at the end only, so that nobody can choose an epoch by it; what is
drawn along the training is the training error.

To be expected: some four points between the recipe's batch and the largest, with every arm fitted
to the training set. In a training a third as long the largest batch is only under-trained.
"""

import itertools

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.batch_sweep import batch_axis, by_batch, ends, plan_at, swept
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.paired import contrast
from reproduction.plotting import curves, means, tidy
from reproduction.report import cell, markdown_table
from reproduction.statistics import by_arm, unfitted


class ErrorByBatch(Experiment):
    """One recipe, epochs and rates unchanged, at several batches."""

    name = "hoffer-1"
    title = "Figure 1: error by batch size"
    paper = "Hoffer, Hubara & Soudry (2017), Figure 1"
    claim = "At equal epochs and with an unchanged recipe, the error grows with the batch size."
    sources = sources_of(__file__)

    def cases(self, setting):
        """A training a batch."""
        regime = setting.regime
        return [
            shortened(
                setting.case(
                    f"batch {batch}",
                    plan_at(regime, batch, "none", stretch=1),
                    setting.plain,
                    rates="unchanged",
                    base_batch=regime.batch,
                )
            )
            for batch in swept(setting)
        ]

    def table(self, results):
        """A row a batch."""
        columns = [
            by_batch(results, key, "unchanged")
            for key in ("test_accuracy", "train_accuracy", "train_loss", "updates", "seconds")
        ]
        rows = []
        for batch in columns[0]:
            tests, trains, losses, updates, seconds = (column[batch] for column in columns)
            rows.append(
                [
                    f"{batch:,}",
                    cell([100 * (1 - value) for value in tests]),
                    cell([100 * (1 - value) for value in trains]),
                    cell(losses, "{:.4f}"),
                    f"{updates[0]:,}",
                    cell(seconds, "{:.0f}"),
                ]
            )
        heading = ["batch, samples", "test error, %", "training error, %", "training loss"]
        return markdown_table([*heading, "updates", "seconds"], rows)

    def measures(self, results):
        """The recipe's batch over the largest, and the most that a batch is over the next smaller.

        Figure 1 shows both: a gap, and an error that grows from batch to batch. Below the recipe's
        own batch it claims nothing.
        """
        base, largest = ends(results)
        batches = [batch for batch in by_batch(results, "seed", "unchanged") if batch >= base]
        turns = [
            contrast(results, [f"batch {large}"], [f"batch {small}"]).values
            for small, large in itertools.pairwise(batches)
        ]
        return {
            "gap": contrast(results, [f"batch {base}"], [f"batch {largest}"]).values,
            "monotone": [max(seed) for seed in zip(*turns, strict=True)],
        }

    def caveats(self, results):
        """A batch that does not fit the training set is only under-trained."""
        return unfitted(results)

    def draw(self, picture, results):
        """Training errors on the left, test errors on the right."""
        left, right = picture.subplots(1, 2)
        for number, (arm, seeds) in enumerate(by_arm(results, "curve").items()):
            errors = [[100 * (1 - value) for value in curve["accuracy"]] for curve in seeds]
            curves(left, seeds[0]["epoch"], errors, number, arm)
        left.set(xlabel="epoch", ylabel="training error, %, in training mode", yscale="symlog")
        left.set_ylim(bottom=0)
        left.set_title("mean over the seeds, and their range", fontsize=9)
        left.legend(frameon=False, fontsize=8)
        found = by_batch(results, "test_accuracy", "unchanged")
        errors = [[100 * (1 - value) for value in seeds] for seeds in found.values()]
        means(right, list(found), errors)
        batch_axis(right, found)
        right.set_ylabel("test error at the end, %")
        right.set_title("mean ± standard deviation", fontsize=9)
        for axes in (left, right):
            tidy(axes)
