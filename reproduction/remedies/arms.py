"""One arm of the remedies: what it trains with, and its training for any seed."""

import math
import warnings
from dataclasses import asdict, dataclass

import keras

from keras_bigbatch import optimizers
from keras_bigbatch.schedules import scale_learning_rate
from keras_bigbatch.training import BatchStage, LargeBatchModel, fit_stages
from reproduction import training
from reproduction.remedies.following import follow
from reproduction.remedies.ghost_noise import GhostNoise
from reproduction.remedies.layerwise import lamb, layerwise
from reproduction.remedies.sharpness_aware import SharpnessAwareModel
from reproduction.remedies.views import Views
from reproduction.repeated_training import RepeatedTraining
from reproduction.runs import Case

SMALL, LARGE = 40, 1000  # samples
DISCARDED = 0.3
LAYERWISE = {
    "LARS": optimizers.LARS,
    "PercentDelta": optimizers.PercentDelta,
    "MCLR": optimizers.MCLR,
    "CBLR": optimizers.CBLR,
}


@dataclass(frozen=True)
class Arm:
    """As the criteria have it.

    Args:
        name: As the hypotheses have it.
        remedy: What is done beside batch, rate and ghosts; none if empty.
        batch: Samples of an update, or the largest batch where it follows the noise.
        ghosts: Samples of a ghost batch; 0 for plain batch norm.
        stretch: What the epochs are multiplied by.
        group: Samples that the remedy takes together, if it does.
        rates: To try.
        strengths: To try, of the remedy; empty where it has none.
        rule: In place of rates to try: that of the small batch's best rate.
    """

    name: str
    remedy: str = ""
    batch: int = LARGE
    ghosts: int = 0
    stretch: int = 1
    group: int = 0
    rates: tuple[float, ...] = ()
    strengths: tuple[float, ...] = ()
    rule: str = ""

    @property
    def tries(self):
        """Rate and strength, by what the results call them."""
        if not self.strengths:
            return {f"{rate:g}": (rate, 0.0) for rate in self.rates}
        return {
            f"{rate:g}, {strength:g}": (rate, strength)
            for strength in self.strengths
            for rate in self.rates
        }

    def by_rule(self, rate):
        """The rate and strength that follow from the small batch's rate."""
        return scale_learning_rate(rate, SMALL, self.batch, self.rule), 0.0

    def case(self, data, tried, epochs):
        """The training, for `Runs`.

        Args:
            data: To train and to score on.
            tried: Rate and strength.
            epochs: Before the stretch.
        """
        rate, strength = tried
        recipe = {**asdict(self), "rate": rate, "strength": strength, "epochs": epochs}
        for tuned in ("name", "rates", "strengths", "rule"):
            del recipe[tuned]
        made = epochs * self.stretch
        return Case(self.name, recipe, made, RemedyTraining(data, self, rate, strength, made))


class RemedyTraining(RepeatedTraining):
    """Makes the training of any seed with a remedy.

    Args:
        data: To train and to score on.
        arm: Which.
        rate: The highest of the schedule.
        strength: Of the remedy.
        epochs: Passes over the data.
    """

    def __init__(self, data, arm, rate, strength, epochs):
        self.arm, self.rate, self.strength = arm, rate, strength
        self.views = int(strength) if arm.remedy == "views" else 1  # of a sample in a batch
        # Where a sample comes several times, an epoch has as many updates more.
        epochs = max(1, round(epochs / self.views))
        self.updates = math.ceil(self.views * data.examples / arm.batch) * epochs
        super().__init__(data, arm.batch, epochs, _norm(arm), self._optimizer())

    @property
    def samples(self):
        """Views count."""
        return self.views * super().samples

    def model_of(self, plain):
        """The network, or a model of its layers that trains otherwise."""
        ends = plain.inputs[0], plain.outputs[0]
        if self.arm.remedy == "noise":
            return LargeBatchModel(*ends, gradient_noise=self.strength)
        if self.arm.remedy == "discard":
            half = self.updates // 2
            return LargeBatchModel(*ends, discard_small_loss=DISCARDED, discard_updates=half)
        if self.arm.remedy in ("SAM", "ASAM"):
            adaptive, group = self.arm.remedy == "ASAM", self.arm.group or None
            return SharpnessAwareModel(*ends, self.strength, adaptive, group)
        return plain

    def fit(self, seed, callbacks):
        """Trains the model by what the remedy does to the data."""
        data, options = self.data, {"callbacks": callbacks, "verbose": 0}
        if self.arm.remedy == "views":
            views = Views(data.x_train, data.y_train, self.batch, self.views, seed)
            self.model.fit(views, epochs=self.epochs, **options)
            return {}
        if self.arm.remedy == "stages":
            small_rate = scale_learning_rate(self.rate, self.batch, SMALL)
            stages = (
                BatchStage(SMALL, 1, small_rate),
                BatchStage(self.batch, self.epochs - 1, self._schedule()),
            )
            fit_stages(self.model, data.x_train, data.y_train, stages, **options)
            return {}
        if self.arm.remedy == "follows":
            sizes, multiple = (SMALL, self.batch), self.strength
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says where the noise scale is unknown
                made = follow(
                    self.model, data, sizes, self.rate, multiple, self.epochs, callbacks, seed
                )
            return {"batches": made}
        return super().fit(seed, callbacks)

    def _schedule(self):
        return training.warmed_cosine(self.rate, self.updates)

    def _optimizer(self):
        if self.arm.remedy in ("follows", "stages"):
            return training.sgd(self.rate)  # it is set in the course of the training
        make = {"LAMB": lamb, **{name: layerwise(each) for name, each in LAYERWISE.items()}}
        return make.get(self.arm.remedy, training.sgd)(self._schedule())


def _norm(arm):
    """Makes the normalization layer of an arm."""
    norm = training.ghost_norm(arm.ghosts) if arm.ghosts else training.plain_norm()
    if arm.remedy != "ghost noise":
        return norm
    return lambda: keras.Sequential([norm(), GhostNoise(arm.group)])
