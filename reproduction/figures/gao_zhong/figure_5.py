"""Figure 5 of Gao & Zhong: the parameter stride along the training, by batch (section 2.2).

The paper records `E(abs(dw))` of each epoch, for batches of 32 to 49152, and calls the area under
the curve the searching space, which shrinks with the batch. It does not say whether that is an
update's stride or all of an epoch's: the area is an update's mean stride, or that times the number
of updates, of which a large batch makes fewer. Areas are comparable only at equal rates (papers
differ, and this one does not say): here all batches train at the regime's rates, for half of its
epochs. The stride is that of the first update of each epoch, as `LayerStrides` measures it; the sum
is over all updates, each taken to be as the first of its epoch.

Expected: the sum falls with the batch, since there are fewer updates; an update's stride falls
less.
"""

import math
from functools import partial
from itertools import pairwise

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.gradients import drawn
from reproduction.figures.gao_zhong.statistics import (
    batches_in,
    by_seed,
    exponent,
    finite,
    number,
    shown,
)
from reproduction.figures.gao_zhong.trainings import HALF, batches_of, compiled, plan_of, recipe_of
from reproduction.figures.ratios import ratio
from reproduction.plotting import curves, means, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case, six_digits
from reproduction.statistics import by_arm
from reproduction.training import measured


class Figure5(Experiment):
    """A training a batch, with the stride of one update an epoch."""

    name = "gao-5"
    title = "Parameter stride along the training"
    paper = "Gao & Zhong, Figure 5"
    claim = "The parameter searching space (the area under the strides) shrinks as the batch grows."
    sources = sources_of(__file__)

    def cases(self, setting):
        """One a batch, at unchanged rates."""
        return [_case(setting, batch) for batch in batches_of(setting)]

    def table(self, results):
        """A row a batch, and the fitted exponents."""
        rows = []
        for batch in batches_in(results):
            mine = [r for r in results if r["batch"] == batch]
            spaces = [number(r["search_space"]) for r in mine]
            rows.append(
                [
                    f"{batch:,}",
                    f"{mine[0]['epochs']} / {mine[0]['updates']:,}",
                    shown([s / r["updates"] for s, r in zip(spaces, mine, strict=True)], "{:.3g}"),
                    shown(spaces, "{:.3g}"),
                    shown([100 * r["test_accuracy"] for r in mine]),
                ]
            )
        fits = [shown(_exponents(results, each), "{:+.3f}") for each in (True, False)]
        rows.append(["exponent", "", *fits, ""])
        heads = ["mean of abs(dw), per update", "sum over the training", "test accuracy, %"]
        return markdown_table(["batch", "epochs / updates", *heads], rows)

    def measures(self, results):
        """The power of an update's stride and of the sum, and each one's largest change upwards."""
        measured = {}
        for name, an_update in (("stride", True), ("sum", False)):
            measured[name] = _exponents(results, an_update)
            measured[f"{name}, each batch"] = [
                _largest_change([_area(r, an_update) for r in mine]) for mine in by_seed(results)
            ]
        return measured

    def draw(self, picture, results):
        """Strides along the training on the left, their sums on the right."""
        left, right = picture.subplots(1, 2, width_ratios=(1.3, 1))
        strides, batches = by_arm(results, "stride"), batches_in(results)
        for place, batch in enumerate(batches):
            seeds = [[number(value) for value in each] for each in strides[str(batch)]]
            curves(left, list(range(1, len(seeds[0]) + 1)), seeds, place, f"{batch:,}")
        left.set(xlabel="epochs", ylabel="mean of abs(dw), an update")
        left.legend(frameon=False, title="batch, samples")
        spaces = by_arm(results, "search_space")
        values = [list(map(number, spaces[str(batch)])) for batch in batches]
        means(right, *finite(batches, values))
        right.set(xscale="log", xlabel="batch, samples")
        right.set_ylabel("mean of abs(dw), summed over the training")
        for axes in (left, right):
            axes.set_yscale("log")
            tidy(axes)


def _case(setting, batch):
    plan = plan_of(setting, batch, share=HALF)

    def run(seed, progress):
        model = compiled(setting, seed, setting.optimizer(plan.learning_rate))
        look = drawn(setting.data, batch, draws=1)
        fit = partial(
            model.fit,
            **setting.data.training(batch, seed),
            epochs=plan.epochs,
            callbacks=[look, progress],
            verbose=0,
        )
        result = measured(model, setting.data, fit, plan.samples)
        stride = strides(model, look.history["layers"])
        return {
            **result,
            "stride": [six_digits(value) for value in stride],
            "search_space": six_digits(math.fsum(stride) * plan.steps_per_epoch),
        }

    return Case(str(batch), recipe_of(setting, plan), plan.epochs, run)


def strides(model, layers):
    """From the layers' strides the mean over all weights, for each measurement."""
    sizes = dict.fromkeys(layers, 0)
    for variable in model.trainable_variables:
        sizes[variable.path.rpartition("/")[0]] += math.prod(variable.shape)
    columns = zip(*(layers[path]["stride"] for path in layers), strict=True)
    total = sum(sizes.values())
    return [
        math.fsum(size * stride for size, stride in zip(sizes.values(), column, strict=True))
        / total
        for column in columns
    ]


def _area(result, an_update):
    """The searching space, or its mean over the updates."""
    return number(result["search_space"]) / (result["updates"] if an_update else 1)


def _exponents(results, an_update):
    """By seed, of the searching space or of its mean over the updates."""
    return [
        exponent([r["batch"] for r in mine], [_area(r, an_update) for r in mine])
        for mine in by_seed(results)
    ]


def _largest_change(areas):
    """The largest ratio of a batch's to that of the next smaller batch; NaN if one has none."""
    changes = [ratio(after, before) for before, after in pairwise(areas)]
    return max(changes) if all(map(math.isfinite, changes)) else math.nan
