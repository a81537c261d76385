"""Hoffer, Hubara & Soudry (2017), Figure 6 (section 4, appendix): noise or rate.

The paper shows, at a batch of 2048, validation error with the square-root rate beside that with
multiplicative noise on the gradient "of the same scale", g = 1/M sum(g_n z_n), z_n ~ N(1, sigma^2),
at an unchanged rate. It says sigma^2 ~ M; to match the covariance of the small batch it is
B_L / B_S - 1, as here. The noise is not in the released code.

The control is the small batch itself, stopped after as many updates (to the nearest whole epoch) as
the large batch makes, its rates dropped at the same updates.

To be expected: the noise makes of the large batch the small one *per update*: accuracy and distance
are the control's. So it cannot replace the updates that are missing, and loses accuracy.
"""

import dataclasses
import functools

from keras_bigbatch.training import LargeBatchModel
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.paired import contrast
from reproduction.plotting import curves, means, tidy
from reproduction.report import cell, markdown_table, with_deviation
from reproduction.statistics import by_arm, summarise, unfitted

NOISE, CONTROL = "LB + noise", "SB stopped"


class NoiseOrRate(Experiment):
    """The large batch plain, with the square-root rate and with noise; and the control."""

    name = "hoffer-6"
    title = "Figure 6: multiplicative noise or the square-root rate"
    paper = "Hoffer, Hubara & Soudry (2017), Figure 6"
    claim = (
        "Multiplicative gradient noise helps a large batch as much as the square-root rate does."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """Four trainings of as many updates."""
        regime, large, norm = setting.regime, setting.large_batch, setting.plain
        plain, rate = (regime.at(large, rule, stretch=1) for rule in ("none", "sqrt"))
        # Its epochs are shorter in updates: stretched so that every rate starts where LB's does.
        control = regime.at(regime.batch, stretch=plain.updates / regime.updates)
        variance = large / regime.batch - 1
        noisy = _with_noise(setting, variance)
        return [
            shortened(setting.case("LB", plain, norm)),
            shortened(setting.case("LB + LR", rate, norm)),
            shortened(noisy.case(NOISE, plain, norm, gradient_noise=variance)),
            shortened(setting.case(CONTROL, control, norm)),
        ]

    def table(self, results):
        """A row an arm."""
        distances = by_arm(results, "weight_distance")
        rows = [
            [
                name,
                with_deviation(arm),
                f"{arm['train_accuracy']:.2f}",
                cell([history["distance"][-1] for history in distances[name]]),
                f"{arm['updates']:,.0f}",
                f"{arm['samples']:,.0f}",
                f"{arm['seconds']:.0f}",
            ]
            for name, arm in summarise(results).items()
        ]
        heading = ["arm", "test accuracy, %", "training accuracy, %", "weight distance"]
        return markdown_table([*heading, "updates", "samples processed", "seconds"], rows)

    def measures(self, results):
        """The noise over nothing and from the rate; and from the small batch, which is our control.

        The figure shows the noise to gain, and as much as the rate does.
        """
        pairs = {"gain": (NOISE, "LB"), "level": (NOISE, "LB + LR"), "control": (NOISE, CONTROL)}
        return {
            **{name: contrast(results, [a], [b]).values for name, (a, b) in pairs.items()},
            "control-distance": distance_ratios(results),
        }

    def caveats(self, results):
        """An arm that does not fit the training set is stopped early."""
        return unfitted(results)

    def draw(self, picture, results):
        """Test accuracies, and the distances on their way."""
        left, right = picture.subplots(1, 2)
        tests = by_arm(results, "test_accuracy")
        for number, values in enumerate(tests.values()):
            means(left, [number], [[100 * value for value in values]], number)
        left.set_xticks(range(len(tests)), list(tests))
        left.set(ylabel="test accuracy at the end, %", xlim=(-0.5, len(tests) - 0.5))
        left.set_title("mean ± standard deviation", fontsize=9)
        for number, (arm, seeds) in enumerate(by_arm(results, "weight_distance").items()):
            distances = [history["distance"] for history in seeds]
            curves(right, seeds[0]["update"], distances, number, arm)
        right.set(xscale="log", xlabel="optimizer updates", ylabel="distance from initial weights")
        right.set_title("mean over the seeds, and their range", fontsize=9)
        right.legend(frameon=False, fontsize=8)
        for axes in (left, right):
            tidy(axes)


def distance_ratios(results):
    """For each seed the distance at the end with the noise, over the control's."""
    found = by_arm(results, "weight_distance")
    pairs = zip(found[NOISE], found[CONTROL], strict=True)
    return [one["distance"][-1] / two["distance"][-1] for one, two in pairs]


def _with_noise(setting, variance):
    """The setting, its network's training loss with multiplicative noise."""

    @functools.wraps(setting.network)
    def noisy(shape, classes, norm):
        model = setting.network(shape, classes, norm)
        # Without a seed it takes one from the generator that the training has seeded.
        return LargeBatchModel(model.inputs, model.outputs, gradient_noise=variance)

    return dataclasses.replace(setting, network=noisy)
