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
from reproduction.plotting import curves, means, tidy
from reproduction.report import cell, markdown_table
from reproduction.statistics import UNFITTED, by_arm, caveats, difference, outcome


class ErrorByBatch(Experiment):
    """One recipe, epochs and rates unchanged, at several batches."""

    name = "hoffer-1"
    title = "Figure 1: error by batch size"
    paper = "Hoffer, Hubara & Soudry (2017), Figure 1"
    claim = "At equal epochs and an unchanged recipe, the error grows with the batch."
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

    def verdict(self, results):
        """Whether the error grows from the recipe's batch on.

        Reproduced: the largest batch is clearly worse than the recipe's, and from there on no batch
        is clearly better than the next smaller one. The figure shows both.
        """
        base, largest = ends(results)
        scored = results[0]["scored"]
        gap, noise = difference(results, f"batch {base}", f"batch {largest}", scored)
        batches = [batch for batch in by_batch(results, "seed", "unchanged") if batch >= base]
        turns = []
        for small, large in itertools.pairwise(batches):
            gain, doubt = difference(results, f"batch {large}", f"batch {small}", scored)
            if gain > doubt:
                turns.append(f"{large:,} is {gain:.1f} points better than {small:,}")
        apart = gap > noise
        return (
            f"{outcome(apart, apart and not turns)}: from batch {base:,} to {largest:,} the error "
            f"{'grows' if apart else 'does not clearly grow'} ({gap:+z.1f} ± {noise:.1f} points), "
            f"{' and '.join(turns) or 'no batch clearly better than a smaller one'}"
            f"{caveats(results, UNFITTED)}."
        )

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
