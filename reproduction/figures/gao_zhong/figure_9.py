"""Figures 9 and 10 of Gao & Zhong: without the samples of small loss (section 3.1).

Figure 9: the mean gradient of the second fully connected layer of AlexNet at the first update, when
some fraction of a batch of 8192 with the smallest losses is discarded; it grows. Figure 10: the
training accuracy with 30 % discarded in the first 100 epochs; it is better than the baseline's, at
batches of 2000 and 8000. The paper does not say whether the loss is divided by the batch or by what
is kept. Here it is what is kept (`LargeBatchModel`); divided by the batch, the gradient is less by
the fraction discarded, which the table has too. Figure 10 is made for a quarter of the regime's
epochs, 30 % discarded in the first half of them, at two rates and one batch; with the test
accuracy, which the paper does not show.

Expected: the gradient grows, if divided by what is kept; no accuracy is gained.
"""

import statistics
import time
from functools import partial

from keras_bigbatch.training import LargeBatchModel
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.gradients import before_first_update, drawn
from reproduction.figures.gao_zhong.statistics import gains, number, shown
from reproduction.figures.gao_zhong.trainings import QUARTER, compiled, plan_of, recipe_of
from reproduction.figures.ratios import ratio
from reproduction.plotting import curves, means, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case
from reproduction.statistics import by_arm
from reproduction.training import measured

FRACTIONS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
DISCARDED = 0.3  # the paper's
RULES = {"none": "LB", "sqrt": "+LR"}


class Figure9(Experiment):
    """A measurement for each fraction, and two trainings a rate."""

    name = "gao-9"
    title = "Discarding samples of small loss"
    paper = "Gao & Zhong, Figures 9 and 10"
    claim = (
        "Without the 30 % smallest losses, gradients are larger and training accuracy is higher."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """Measurements first."""
        measured = [_measurement(setting, fraction) for fraction in FRACTIONS]
        return measured + [
            _training(setting, rule, fraction) for rule in RULES for fraction in (0.0, DISCARDED)
        ]

    def table(self, results):
        """Two tables: gradients, and accuracies."""
        rows = []
        for fraction in FRACTIONS:
            kept = _gradients(results, fraction)
            of_batch = [(1 - fraction) * value for value in kept]
            rows.append([f"{fraction:.0%}", shown(kept, "{:.3g}"), shown(of_batch, "{:.3g}")])
        heads = ["discarded", "mean of abs(gradient), kept samples", "whole batch"]
        gradients = markdown_table(heads, rows)
        rows = []
        for rule in RULES:
            for fraction in (0.0, DISCARDED):
                mine = [r for r in results if r["arm"] == _arm(rule, fraction)]
                fits, tests = ([100 * r[f"{p}_accuracy"] for r in mine] for p in ("train", "test"))
                length = f"{mine[0]['epochs']} / {mine[0]['updates']:,}"
                rows.append([mine[0]["arm"], length, shown(fits), shown(tests)])
        heads = ["", "epochs / updates", "training accuracy, %", "test accuracy, %"]
        return f"{gradients}\n\n{markdown_table(heads, rows)}"

    def measures(self, results):
        """How many times as large the gradient is, by both divisors, and the accuracy gained."""
        pairs = zip(_gradients(results, DISCARDED), _gradients(results, 0.0), strict=True)
        kept = [ratio(*pair) for pair in pairs]
        trained = [r for r in results if "train_accuracy" in r]
        return {
            "kept": kept,
            "batch": [(1 - DISCARDED) * value for value in kept],
            **{
                name: gains(trained, "train_accuracy", _arm(rule, DISCARDED), _arm(rule, 0.0))
                for rule, name in RULES.items()
            },
        }

    def caveats(self, results):
        """The ceiling: what is left to gain."""
        accuracies = by_arm([r for r in results if "train_accuracy" in r], "train_accuracy")
        left = (
            f"{100 - 100 * statistics.fmean(accuracies[_arm(rule, 0.0)]):.1f} points at {name}'s "
            "rate"
            for rule, name in RULES.items()
        )
        return f"Without discarding, training accuracy is below 100 % by {' and '.join(left)}."

    def draw(self, picture, results):
        """Gradients on the left, training accuracies on the right."""
        left, right = picture.subplots(1, 2)
        percent = [100 * fraction for fraction in FRACTIONS]
        kept = [_gradients(results, fraction) for fraction in FRACTIONS]
        means(left, percent, kept, 2, "divided by the kept")
        pairs = list(zip(FRACTIONS, kept, strict=True))
        of_batch = [[(1 - fraction) * value for value in values] for fraction, values in pairs]
        means(left, percent, of_batch, 1, "divided by the batch")
        left.set(xlabel="smallest losses discarded, %", ylabel="mean of abs(gradient), last layer")
        trained = by_arm([r for r in results if "curve" in r], "curve")
        for place, (arm, histories) in enumerate(trained.items()):
            seeds = [[100 * number(value) for value in each["accuracy"]] for each in histories]
            curves(right, list(range(1, len(seeds[0]) + 1)), seeds, place, arm)
        right.set(xlabel="epochs", ylabel="training accuracy, %")
        for axes in (left, right):
            axes.legend(frameon=False)
            tidy(axes)


def without_small_losses(fraction, updates=None):
    """A function that makes of a model one that discards."""

    def wrap(model):
        return LargeBatchModel(
            model.inputs, model.outputs, discard_small_loss=fraction, discard_updates=updates
        )

    return wrap if fraction else None


def _measurement(setting, fraction):
    recipe = {
        "network": setting.network.__name__,
        "batch": setting.large_batch,
        "discarded": fraction,
        "epochs": 0,
    }

    def run(seed, _):
        start = time.perf_counter()
        look = drawn(setting.data, setting.large_batch, seed=seed)
        layers = before_first_update(setting, seed, [look], without_small_losses(fraction))
        gradients = {layer: columns["gradient"][0] for layer, columns in layers.items()}
        return {"gradients": gradients, "seconds": time.perf_counter() - start}

    return Case(f"gradient {fraction:.0%}", recipe, 0, run)


def _training(setting, rule, fraction):
    plan = plan_of(setting, setting.large_batch, rule, QUARTER)
    updates = max(1, plan.updates // 2) if fraction else None

    def run(seed, progress):
        optimizer = setting.optimizer(plan.learning_rate)
        model = compiled(setting, seed, optimizer, without_small_losses(fraction, updates))
        fit = partial(
            model.fit,
            **setting.data.training(plan.batch, seed),
            epochs=plan.epochs,
            callbacks=[progress],
            verbose=0,
        )
        return measured(model, setting.data, fit, plan.samples)

    recipe = recipe_of(setting, plan, discarded=fraction, discard_updates=updates)
    return Case(_arm(rule, fraction), recipe, plan.epochs, run)


def _arm(rule, fraction):
    return RULES[rule] + (f", {fraction:.0%} discarded" if fraction else "")


def _gradients(results, fraction):
    """By seed, of the network's last layer, which is the fully connected one."""
    arm = f"gradient {fraction:.0%}"
    mine = sorted((r for r in results if r["arm"] == arm), key=lambda r: r["seed"])
    return [number(list(r["gradients"].values())[-1]) for r in mine]
