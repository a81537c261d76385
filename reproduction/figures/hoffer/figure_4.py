"""Hoffer, Hubara & Soudry (2017), Figure 4 (appendix B, equation 8): the random potential.

The paper draws 1000 points around the Glorot-initialized weights of ResNet44, each at a uniform
distance up to c = 10 in a random direction, and shows the root mean square of the loss's change
over the distance in a panel for each of several numbers of bins: straight lines, so alpha = 2 (the
deviation grows as distance ^ (alpha / 2)). It fits no slope, and does not say which statistics
batch normalization took; nor did its code come with it. Here both are measured, on 1000 training
samples, and the slope is fitted from a tenth of the largest distance on: near the weights any
differentiable loss is linear, which makes alpha 2 whatever the potential is.

The largest distance is 21, as far as this network's small batch gets on MNIST-1D in the first 1000
updates, at a constant rate (Figure 2): the range in which its training moves. On other data, or
with another network, that is another number.

To be expected: the mode decides. And the mean of the loss rises too, which equation 8 counts as
deviation: with the statistics of the batch alpha is near 3 by it, and near 2 only of the spread
about the mean.
"""

import time

import keras

from keras_bigbatch.diagnostics import random_potential
from reproduction.experiment import Experiment, sources_of
from reproduction.plotting import style, tidy
from reproduction.report import cell, markdown_table, with_noise
from reproduction.runs import Case
from reproduction.statistics import by_arm

MODES = {"statistics of the batch": "training", "stored statistics": "inference"}
# The paper's c, 10, is of the size of the distances that its trainings reach. This network's reach
# 21 (21.0 ± 0.2) at batch 40 in the 1000 updates of Figure 2's constant rate.
MAX_DISTANCE = 21.0
DRAWS, SAMPLES = 1000, 1000  # the draws are the paper's
QUICK_DRAWS, QUICK_SAMPLES = 80, 100
BINS, SHOWN_BINS = (10, 20, 40), 20


class RandomPotentialAtStart(Experiment):
    """The loss at random points around the initial weights, in both modes of batch norm."""

    name = "hoffer-4"
    title = "Figure 4: the loss as a random potential"
    paper = "Hoffer, Hubara & Soudry (2017), Figure 4"
    claim = (
        "Around the initial weights, the deviation of the loss grows linearly with the distance: "
        "alpha = 2."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """A measurement a mode."""
        draws, samples = (QUICK_DRAWS, QUICK_SAMPLES) if setting.quick else (DRAWS, SAMPLES)
        samples = min(samples, setting.data.examples)
        cases = []
        for name, mode in MODES.items():

            def run(seed, progress, mode=mode):  # noqa: ARG001 - no epochs to report
                return measure(setting, mode, draws, samples, seed)

            recipe = {
                "network": setting.network.__name__,
                "mode": mode,
                "draws": draws,
                "measured_on": samples,
                "max_distance": MAX_DISTANCE,
            }
            cases.append(Case(name, recipe, 1, run))
        return cases

    def table(self, results):
        """A row a mode; alpha by equation 8 for each number of bins."""
        rows = []
        for arm, fits in by_arm(results, "alpha").items():
            mine = [result for result in results if result["arm"] == arm]
            rows.append(
                [
                    arm,
                    *(cell([fit[str(bins)] for fit in fits]) for bins in BINS),
                    cell([result["spread_alpha"][str(SHOWN_BINS)] for result in mine]),
                    cell([_beyond(result) for result in mine], "{:.1f}"),
                ]
            )
        heading = ["batch norm uses", *(f"alpha, {bins} bins" for bins in BINS)]
        return markdown_table(
            [*heading, "alpha of the spread", "deviation / linear term at the end"], rows
        )

    def measures(self, results):
        """Alpha by equation 8 in each mode; that of the spread is not what the equation defines."""
        alphas = by_arm(results, "alpha")
        return {mode: [fit[str(SHOWN_BINS)] for fit in alphas[arm]] for arm, mode in MODES.items()}

    def caveats(self, results):
        """How far the points were drawn."""
        reach = results[0]["max_distance"]
        return (
            f"The points are at distances of up to {reach:g} from the initial weights. In the "
            "paper they go up to 10."
        )

    def draw(self, picture, results):
        """A panel a mode: deviation, spread and linear term over the distance."""
        arms = list(by_arm(results, "seed"))
        panels = picture.subplots(1, len(arms), sharey=True)
        for axes, arm in zip(panels, arms, strict=True):
            mine = [result for result in results if result["arm"] == arm]
            for result in mine:
                line = [result["first_order"] * place for place in result["distance"]]
                # One label each in the legend, whatever the number of seeds.
                names = ("deviation, equation 8", "spread about the mean", "linear term: alpha = 2")
                for number, (name, values) in enumerate(
                    zip(names, (result["deviation"], result["spread"], line), strict=True)
                ):
                    label = name if result is mine[0] else None
                    axes.plot(
                        result["distance"], values, label=label, markersize=3, **style(number)
                    )
            axes.set(xscale="log", yscale="log", xlabel="distance from the initial weights")
            alpha = with_noise([result["alpha"][str(SHOWN_BINS)] for result in mine])
            axes.set_title(f"{arm}: alpha {alpha}, twice the slope", fontsize=9)
            tidy(axes)
        panels[0].set_ylabel("deviation of the training loss, a line a seed")
        panels[0].legend(frameon=False, fontsize=8)


def measure(setting, mode, draws, samples, seed):
    """The random potential at the initial weights of a seed, as plain JSON types.

    Args:
        setting: The experiment's setting.
        mode: Of batch norm, as in `random_potential`.
        draws: Random points.
        samples: Training samples that the loss is the mean of, in one batch.
        seed: Of weights, distances and directions.
    """
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model = setting.network(setting.data.shape, setting.data.classes, setting.plain)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = random_potential(
        model,
        **first_samples(setting.data, samples),
        max_distance=MAX_DISTANCE,
        draws=draws,
        bins=SHOWN_BINS,
        mode=mode,
        seed=seed,
    )
    fits = {bins: found.binned(bins) for bins in BINS}
    return {
        "distance": _plain(found.distance),
        "deviation": _plain(found.deviation),
        "spread": _plain(found.spread),
        "first_order": found.first_order,
        "alpha": {str(bins): fit.alpha for bins, fit in fits.items()},
        "spread_alpha": {str(bins): fit.spread_alpha for bins, fit in fits.items()},
        "seconds": time.perf_counter() - start,
    }


def first_samples(data, samples):
    """Training samples in one batch, as arguments of `random_potential`.

    Args:
        data: Arrays, or a data set of TensorFlow's.
        samples: How many.
    """
    given = data.scoring("train")
    if "y" in given:
        return {"x": given["x"][:samples], "y": given["y"][:samples], "batch_size": samples}
    return {"x": given["x"].unbatch().take(samples).batch(samples)}


def _plain(values):
    return [float(f"{value:.6g}") for value in values]


def _beyond(result):
    """How far the last bin is from the line that the gradient alone would make."""
    return result["deviation"][-1] / (result["first_order"] * result["distance"][-1])
