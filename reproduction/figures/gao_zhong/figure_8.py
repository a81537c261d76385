"""Figure 8 of Gao & Zhong: loss curves by batch size (section 2.3).

The paper shows the losses of whole trainings, for batches of 32 to 49152, and says that they
fluctuate most at the smallest and at the largest batches, and less in between. It neither gives
the rates nor measures the fluctuation. Here all batches train at the regime's rates for half of
its epochs; the fluctuation is the noise of the logarithm of an epoch's training loss, from second
differences, before the rate drops.

Expected: the loss is larger the larger the batch. What the fluctuation does was not looked at.
"""

import math

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.statistics import (
    batches_in,
    by_seed,
    exponent,
    number,
    roughness,
    shown,
)
from reproduction.figures.gao_zhong.trainings import batches_of, plan_of
from reproduction.plotting import curves, means, tidy
from reproduction.report import markdown_table
from reproduction.statistics import by_arm


class Figure8(Experiment):
    """A training a batch."""

    name = "gao-8"
    title = "Loss curves by batch size"
    paper = "Gao & Zhong, Figure 8"
    claim = (
        "Larger batches end at larger losses. The losses of small and large batches fluctuate "
        "more than those of batches in between."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """One a batch, at unchanged rates; three or more, for there must be some between."""
        return [
            setting.case(str(batch), plan_of(setting, batch), setting.plain)
            for batch in batches_of(setting, least=3)
        ]

    def table(self, results):
        """A row a batch."""
        rows = []
        for batch in batches_in(results):
            mine = [r for r in results if r["batch"] == batch]
            rows.append(
                [
                    f"{batch:,}",
                    f"{mine[0]['epochs']} / {mine[0]['updates']:,}",
                    shown([number(r["train_loss"]) for r in mine], "{:.3g}"),
                    shown([number(r["test_loss"]) for r in mine], "{:.3g}"),
                    shown([fluctuation(r) for r in mine], "{:.3f}"),
                ]
            )
        heads = ["final training loss", "test loss", "fluctuation of log loss, per epoch"]
        return markdown_table(["batch", "epochs / updates", *heads], rows)

    def measures(self, results):
        """The power of the loss at the end, and the fluctuation at the ends above that between."""
        batches = batches_in(results)
        return {
            "loss": [
                exponent(batches, [number(r["train_loss"]) for r in mine])
                for mine in by_seed(results)
            ],
            "smallest": _above_middle(results, 0),
            "largest": _above_middle(results, -1),
        }

    def draw(self, picture, results):
        """Curves on the left, fluctuations on the right."""
        left, right = picture.subplots(1, 2, width_ratios=(1.5, 1))
        trained, batches = by_arm(results, "curve"), batches_in(results)
        for place, batch in enumerate(batches):
            seeds = [list(map(number, curve["loss"])) for curve in trained[str(batch)]]
            curves(left, list(range(1, len(seeds[0]) + 1)), seeds, place, f"{batch:,}")
        left.set(xlabel="epochs", ylabel="training loss of the epoch", yscale="log")
        left.legend(frameon=False, title="batch, samples")
        rough = [[fluctuation(r) for r in results if r["batch"] == b] for b in batches]
        if all(math.isfinite(value) for each in rough for value in each):
            means(right, batches, rough)
            right.set_xscale("log")
        right.set(xlabel="batch, samples", ylabel="fluctuation of log loss, an epoch")
        for axes in (left, right):
            tidy(axes)


def fluctuation(result):
    """The noise of the log loss over the epochs before the rate drops."""
    updates = [int(update) for update in result["rates_from_update"]]
    per_epoch = result["updates"] // result["epochs"]
    until = updates[1] // per_epoch if len(updates) > 1 else result["epochs"]
    losses = [number(value) for value in result["curve"]["loss"][:until]]
    return roughness([math.log(loss) if loss > 0 else math.nan for loss in losses])


def _above_middle(results, place):
    """By seed the fluctuation at one end, less the mean of those between the ends."""
    found = []
    for mine in by_seed(results):
        rough = [fluctuation(result) for result in mine]
        between = rough[1:-1]
        found.append(rough[place] - sum(between) / len(between))
    return found
