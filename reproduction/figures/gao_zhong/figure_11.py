"""Figures 11 to 14 of Gao & Zhong: the first epoch at a small batch (section 3.2).

The paper trains AlexNet on CIFAR-10 at a batch of 8192 and a rate of 0.05, but for the first
epoch: 512 and 0.005. Against the plain large batch it shows curves of several runs that are higher
and less apart. A small-batch epoch has many more updates, though. So the plain large batch trains
twice here: for as many epochs, and for as many updates. The first epoch is the regime's own batch
and rate, the others are at the square-root rate, for a quarter of the regime's epochs.

Expected: a gain at equal epochs, and none at equal updates.
"""

import math
import statistics
from functools import partial

from keras_bigbatch.training import fit_stages, small_first_epoch
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.statistics import number, shown
from reproduction.figures.gao_zhong.trainings import (
    QUARTER,
    compiled,
    first_rate,
    plan_of,
    recipe_of,
)
from reproduction.paired import contrast
from reproduction.plotting import curves, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case
from reproduction.statistics import by_arm, unfitted
from reproduction.training import measured

ARMS = ("large batch", "first epoch small", "large batch, equal updates")


class Figure11(Experiment):
    """Three trainings."""

    name = "gao-11"
    title = "The first epoch at a small batch"
    paper = "Gao & Zhong, Figures 11 to 14"
    claim = (
        "With a small batch in the first epoch, the large batch trains clearly better and several "
        "runs scatter less."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """The equal updates are to the nearest whole epoch."""
        regime, large = setting.regime, setting.large_batch
        plain = plan_of(setting, large, "sqrt", QUARTER, least=2)
        later = _of_epochs(setting, plain.epochs - 1)
        updates = regime.steps_per_epoch + later.updates
        longer = _of_epochs(setting, round(updates / plain.steps_per_epoch))
        return [
            setting.case(ARMS[0], plain, setting.plain),
            _stages(setting, later),
            setting.case(ARMS[2], longer, setting.plain),
        ]

    def table(self, results):
        """A row an arm."""
        rows = []
        for arm in ARMS:
            mine = [r for r in results if r["arm"] == arm]
            rows.append(
                [
                    arm,
                    f"{mine[0]['epochs']} / {mine[0]['updates']:,}",
                    shown([number(r["train_loss"]) for r in mine], "{:.3g}"),
                    shown([100 * r["train_accuracy"] for r in mine]),
                    shown([100 * r["test_accuracy"] for r in mine]),
                ]
            )
        heads = ["training loss", "training accuracy, %", "test accuracy, %"]
        return markdown_table(["", "epochs / updates", *heads], rows)

    def measures(self, results):
        """What the small first epoch gains, and how much nearer the seeds are to their mean."""
        plain, small, longer = ARMS
        accuracies = by_arm(results, "test_accuracy")
        pairs = zip(*(_from_mean(accuracies[arm]) for arm in (plain, small)), strict=True)
        return {
            "equal epochs": contrast(results, [small], [plain]).values,
            "equal updates": contrast(results, [small], [longer]).values,
            "less apart": [100 * (wide - narrow) for wide, narrow in pairs],
        }

    def caveats(self, results):
        """An arm that does not fit the training set is only under-trained."""
        return unfitted(results)

    def draw(self, picture, results):
        """Loss and accuracy over the updates, at the end of each epoch."""
        trained = by_arm(results, "curve")
        for axes, key in zip(picture.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for place, arm in enumerate(ARMS):
                result = next(r for r in results if r["arm"] == arm)
                factor = 100 if key == "accuracy" else 1
                seeds = [[factor * number(v) for v in curve[key]] for curve in trained[arm]]
                curves(axes, _ends(result, len(seeds[0])), seeds, place, arm)
            axes.set_xlabel("optimizer updates")
            axes.set_ylabel("training accuracy, %" if factor == 100 else "training loss")
            tidy(axes)
        axes.legend(frameon=False)


def _of_epochs(setting, epochs):
    """The large batch at the square-root rate for so many epochs."""
    return plan_of(setting, setting.large_batch, "sqrt", epochs / setting.regime.epochs)


def _stages(setting, later):
    regime, epochs = setting.regime, later.epochs + 1
    stages = small_first_epoch(
        epochs, regime.batch, later.batch, first_rate(setting), later.learning_rate
    )

    def run(seed, progress):
        model = compiled(setting, seed, setting.optimizer(later.learning_rate))
        data = setting.data
        fit = partial(
            fit_stages, model, data.x_train, data.y_train, stages, callbacks=[progress], verbose=0
        )
        return measured(model, setting.data, fit, regime.examples + later.samples)

    recipe = {
        **recipe_of(setting, later, small_batch=regime.batch, small_rate=first_rate(setting)),
        "epochs": epochs,
    }
    return Case(ARMS[1], recipe, epochs, run)


def _from_mean(values):
    """How far each is from the mean of all."""
    mean = statistics.fmean(values)
    return [abs(value - mean) for value in values]


def _ends(result, epochs):
    """The updates made at the end of each epoch; all but the first have as many."""
    rest = math.ceil(result["samples"] // epochs / result["batch"])
    first = result["updates"] - (epochs - 1) * rest
    return [first + epoch * rest for epoch in range(epochs)]
