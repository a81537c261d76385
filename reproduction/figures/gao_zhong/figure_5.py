"""Figure 5 of Gao & Zhong: the parameter stride along the training, by batch (section 2.2).

The paper records `E(abs(dw))` of each epoch, for batches of 32 to 49152, and calls the area under
the curve the searching space, which shrinks with the batch. Areas are comparable only at equal
rates (papers differ, and this one does not say): here all batches train at the regime's rates, for
half of its epochs. The stride is that of the first update of each epoch, as `LayerStrides` measures
it; the searching space is its sum over all updates, each taken to be as the first of its epoch.

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
    sentence,
    shown,
    text,
)
from reproduction.figures.gao_zhong.trainings import HALF, batches_of, compiled, plan_of, recipe_of
from reproduction.plotting import curves, means, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case, six_digits
from reproduction.statistics import by_arm, mean_and_noise
from reproduction.training import measured


class Figure5(Experiment):
    """A training a batch, with the stride of one update an epoch."""

    name = "gao-5"
    title = "Parameter stride along the training"
    paper = "Gao & Zhong, Figure 5"
    claim = "The parameter searching space, the sum of the strides, shrinks with the batch."
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
        heads = ["mean of abs(dw), an update", "sum over the training", "test accuracy, %"]
        return markdown_table(["batch", "epochs / updates", *heads], rows)

    def verdict(self, results):
        """Reproduced where the sum is less at each batch, clearly so over all; partly without."""
        mean, noise = mean_and_noise(_exponents(results, False))
        an_update = mean_and_noise(_exponents(results, True))
        spaces = by_arm(results, "search_space")
        sums = [mean_and_noise(list(map(number, spaces[str(b)])))[0] for b in batches_in(results)]
        falls = all(after < before for before, after in pairwise(sums))
        clear = mean + noise < 0
        word = "Reproduced" if clear and falls else "Partly" if clear else "Not reproduced"
        return sentence(
            word,
            f"the sum of the strides goes with the batch to the power {text(mean, noise)} and is "
            f"{'' if falls else 'not '}less at each larger batch; an update's stride goes to the "
            f"power {text(*an_update)}, so that the rest is the number of updates",
            results,
        )

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


def _exponents(results, an_update):
    """By seed, of the searching space or of its mean over the updates."""
    return [
        exponent(
            [r["batch"] for r in mine],
            [number(r["search_space"]) / (r["updates"] if an_update else 1) for r in mine],
        )
        for mine in by_seed(results)
    ]
