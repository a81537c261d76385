"""One arm of the remedies: what it trains with, and its training for any seed."""

import math
import time
import warnings
from dataclasses import asdict, dataclass
from functools import partial

import keras

from keras_bigbatch import optimizers
from keras_bigbatch.schedules import scale_learning_rate
from keras_bigbatch.training import BatchStage, LargeBatchModel, fit_stages
from reproduction import training
from reproduction.networks.small import network
from reproduction.remedies.following import follow
from reproduction.remedies.ghost_noise import GhostNoise
from reproduction.remedies.sharpness_aware import SharpnessAwareModel
from reproduction.remedies.views import Views
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


class RemedyTraining:
    """Makes the training of any seed; the model is kept, with what was compiled for it.

    Args:
        data: To train and to score on.
        arm: Which.
        rate: The highest of the schedule.
        strength: Of the remedy.
        epochs: Passes over the data.
    """

    def __init__(self, data, arm, rate, strength, epochs):
        self.data, self.arm, self.rate, self.strength = data, arm, rate, strength
        # Where a sample comes several times, an epoch has as many updates more.
        self.epochs = max(1, round(epochs / self.views))
        self.core = None

    @property
    def views(self):
        """Of a sample in a batch."""
        return int(self.strength) if self.arm.remedy == "views" else 1

    def __call__(self, seed, progress):
        """Scores, updates and seconds."""
        self.start(seed)
        start = time.perf_counter()
        more = self._fit(seed, keras.tree.flatten([progress])) or {}
        seconds = time.perf_counter() - start
        return {
            "updates": training.updates_of(self.model),
            "samples": self.epochs * self.views * self.data.examples,
            "seconds": seconds,
            **training.all_scores(self.model, self.data),
            **more,
        }

    def start(self, seed):
        """Puts everything as it is before the first update."""
        if self.core is None:
            self._compile()
        keras.utils.set_random_seed(seed)
        fresh = network(self.data.shape, self.data.classes, self._norm())
        for variable, value in self.first:
            variable.assign([seed, 0] if variable.dtype == "uint32" else value)
        self.core.set_weights(fresh.get_weights())

    def _compile(self):
        norm = self._norm()
        self.core = network(self.data.shape, self.data.classes, norm)
        self.model = training.compiled(self._wrapped(), self._optimizer())
        self.model.optimizer.build(self.model.trainable_variables)
        everything = [*self.model.variables, *self.model.optimizer.variables]
        self.first = [(each, keras.ops.convert_to_numpy(each)) for each in everything]
        # A step draws random numbers when it is traced; without it the first training of a
        # process would have another order of the samples than the same seed has later.
        batch = self.arm.batch
        few = self.data.x_train[:batch], self.data.y_train[:batch]
        self.model.fit(*few, batch_size=batch, verbose=0)

    def _norm(self):
        arm = self.arm
        norm = training.ghost_norm(arm.ghosts) if arm.ghosts else training.plain_norm()
        if arm.remedy != "ghost noise":
            return norm
        return lambda: keras.Sequential([norm(), GhostNoise(arm.group)])

    def _wrapped(self):
        ends, strength = (self.core.inputs, self.core.outputs), self.strength
        if self.arm.remedy == "noise":
            return LargeBatchModel(*ends, gradient_noise=strength)
        if self.arm.remedy == "discard":
            half = self._updates() // 2
            return LargeBatchModel(*ends, discard_small_loss=DISCARDED, discard_updates=half)
        if self.arm.remedy in ("SAM", "ASAM"):
            inputs, outputs = (each[0] for each in ends)
            adaptive = self.arm.remedy == "ASAM"
            group = self.arm.group or None
            return SharpnessAwareModel(inputs, outputs, strength, adaptive, group)
        return self.core

    def _updates(self):
        return math.ceil(self.views * self.data.examples / self.arm.batch) * self.epochs

    def _optimizer(self):
        if self.arm.remedy in ("follows", "stages"):
            return training.sgd(self.rate)  # it is set in the course of the training
        return self._maker()(training.warmed_cosine(self.rate, self._updates()))

    def _maker(self):
        if self.arm.remedy == "LAMB":
            return partial(keras.optimizers.Lamb, global_clipnorm=5.0)
        if self.arm.remedy in LAYERWISE:
            return partial(_layerwise, LAYERWISE[self.arm.remedy])
        return training.sgd

    def _fit(self, seed, callbacks):
        data, batch = self.data, self.arm.batch
        if self.arm.remedy == "views":
            views = Views(data.x_train, data.y_train, batch, self.views, seed)
            self.model.fit(views, epochs=self.epochs, callbacks=callbacks, verbose=0)
        elif self.arm.remedy == "stages":
            small_rate = scale_learning_rate(self.rate, batch, SMALL)
            rest = training.warmed_cosine(self.rate, self._updates())
            stages = BatchStage(SMALL, 1, small_rate), BatchStage(batch, self.epochs - 1, rest)
            fit_stages(
                self.model, data.x_train, data.y_train, stages, callbacks=callbacks, verbose=0
            )
        elif self.arm.remedy == "follows":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says where the noise scale is unknown
                return {
                    "batches": follow(
                        self.model,
                        data,
                        (SMALL, batch),
                        self.rate,
                        self.strength,
                        self.epochs,
                        callbacks,
                        seed,
                    )
                }
        else:
            self.model.fit(
                **data.training(batch, seed), epochs=self.epochs, callbacks=callbacks, verbose=0
            )
        return None


def _layerwise(optimizer, rate):
    """With a trust coefficient of 1 the rate is the relative step of the kernels."""
    return optimizer(rate, trust_coefficient=1.0, weight_decay=1e-4, global_clipnorm=5.0)
