"""One entry for each public class: how to make one. `tests/contract` drives all of them."""

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

import keras_bigbatch as kbb
from tests.problems import data

_INNER = {"learning_rate", "gradient_accumulation_steps"}


@dataclass(frozen=True, eq=False)
class Entry:
    """A public class, and arguments other than its defaults to make one from."""

    cls: type
    kind: str  # "layer", "schedule", "callback", "optimizer" or "record" (a frozen dataclass)
    kwargs: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def make(self, **changes: Any) -> Any:
        kwargs = {**self.kwargs, **changes}
        if callable(kwargs.get("optimizer")):
            # A wrapper takes an optimizer over: a fresh one each time, with what is the inner's.
            inner = {name: kwargs.pop(name) for name in _INNER & set(kwargs)}
            kwargs["optimizer"] = kwargs["optimizer"](**inner)
        return self.cls(**kwargs)

    def __str__(self) -> str:
        return self.cls.__name__ + (f"-{self.label}" if self.label else "")


def _cosine():
    return keras.optimizers.schedules.CosineDecay(0.2, decay_steps=40)


def _regime():
    return kbb.Regime(batch=8, epochs=4, examples=64, learning_rate={0: 0.1, 2: 0.01})


_BATCHES = {"small_batch": 8, "large_batch": 32}
_SCALED = {**_BATCHES, "learning_rate": 0.1}

LAYERS = [
    Entry(
        kbb.layers.GhostBatchNormalization,
        "layer",
        {
            "virtual_batch": 8,
            "momentum": 0.8,
            "epsilon": 1e-2,
            "gamma_regularizer": keras.regularizers.L2(1e-3),
        },
    ),
    Entry(kbb.layers.GhostNoise, "layer", {"virtual_batch": 16, "epsilon": 1e-2, "seed": 3}),
]

# What they draw from is the batch of a step: micro-batches are no parts of a larger one.
DRAW_FROM_THE_BATCH = {kbb.layers.GhostNoise}

SCHEDULES = [
    Entry(
        kbb.schedules.LearningRateScaler,
        "schedule",
        {**_SCALED, "rule": "linear", "warmup_updates": 5},
        "float",
    ),
    Entry(
        kbb.schedules.RegimeStretch,
        "schedule",
        {**_SCALED, "learning_rate": _cosine(), "stretch": 3},
        "cosine",
    ),
    Entry(
        kbb.schedules.LearningRateScaler,
        "schedule",
        {**_SCALED, "learning_rate": kbb.RegimeStretch(_cosine(), **_BATCHES, stretch=2)},
        "of-stretch",
    ),
    Entry(
        kbb.schedules.RegimeStretch,
        "schedule",
        {
            **_SCALED,
            "learning_rate": kbb.LearningRateScaler(_cosine(), **_BATCHES, warmup_updates=4),
            "stretch": 4,
        },
        "of-scaler",
    ),
]

_DATA = dict(zip("xy", data(), strict=True))

CALLBACKS = [
    Entry(kbb.callbacks.WeightDistance, "callback", {"frequency": 1, "per_layer": True}),
    # The contract's trainings do not come so far: whatever this one does to them is too much.
    Entry(kbb.callbacks.ReduceLROnWeightDistance, "callback", {"distances": 1e6, "frequency": 1}),
    Entry(
        kbb.callbacks.GradientNoiseScale,
        "callback",
        {**_DATA, "small_batch": 16, "large_batch": 64, "frequency": 1, "draws": 8},
    ),
    Entry(kbb.callbacks.LayerStrides, "callback", {**_DATA, "frequency": 1}),
]


def _sgd(learning_rate=0.05, **kwargs):
    return keras.optimizers.SGD(learning_rate, momentum=0.9, **kwargs)


_DECAY = {"learning_rate": 0.0625, "trust_coefficient": 0.2, "weight_decay": 1e-3}

OPTIMIZERS = [
    Entry(
        kbb.optimizers.LARS,
        "optimizer",
        {**_DECAY, "nesterov": True, "denominator": "decayed_gradient"},
    ),
    Entry(kbb.optimizers.LARS, "optimizer", {**_DECAY, "rate_in_momentum": False}, "rate-last"),
    Entry(kbb.optimizers.MCLR, "optimizer", {**_DECAY, "exclude": ["bias$"]}),
    Entry(kbb.optimizers.PercentDelta, "optimizer", {**_DECAY, "momentum": 0.5}),
    Entry(kbb.optimizers.CBLR, "optimizer", _DECAY),
    Entry(
        kbb.optimizers.ClipFirstUpdates,
        "optimizer",
        {"optimizer": _sgd, "global_clipnorm": 0.5, "updates": 5},
    ),
]

# Nobody makes one: it is there to be subclassed.
ABSTRACT = {kbb.optimizers.LayerwiseOptimizer}


def _large_batch_model():
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(1)(inputs)
    return kbb.training.LargeBatchModel(inputs, outputs, 3.0, discard_small_loss=0.3, seed=1)


# Made of tensors, which must not be shared between tests.
MODELS = {kbb.training.LargeBatchModel: _large_batch_model}

# Functions that change how a model trains, with arguments; the model is the first one.
TRAININGS = {kbb.training.sharpness_aware: {"radius": 0.2, "virtual_batch": 8}}


def _random_potential():
    distance = np.array([1.0, 2.0, 4.0])
    deviation = np.array([0.1, 0.2, 0.4])
    draws = np.stack([distance, deviation], axis=1)
    return kbb.diagnostics.RandomPotential(
        distance, deviation, deviation, 2.0, 0.01, 2.0, (0.5, 4.0), 0.1, draws
    )


def _linear_path():
    return kbb.diagnostics.LinearPath(np.array([0.0, 0.5, 1.0]), np.array([1.0, 2.0, 1.5]))


# A plan and a fit are made by functions, which know all their fields.
RECORDS = {
    kbb.schedules.Regime: _regime,
    kbb.schedules.Plan: lambda: _regime().at(batch=32),
    kbb.training.BatchStage: lambda: kbb.training.BatchStage(32, 2, learning_rate=0.1),
    kbb.training.NoiseLimit: lambda: kbb.training.NoiseLimit(32, 1024, multiple=0.5),
    kbb.diagnostics.DiffusionFit: lambda: kbb.diagnostics.fit_diffusion(
        [10, 20, 50, 100], [1.0, 1.2, 1.5, 1.6]
    ),
    kbb.diagnostics.SqrtFit: lambda: kbb.diagnostics.SqrtFit(0.5, 0.1, 0.99, (0.4, 0.6)),
    kbb.diagnostics.PowerFit: lambda: kbb.diagnostics.PowerFit(0.5, 1.0, 0.98, (0.45, 0.55)),
    kbb.diagnostics.HessianEigenvalues: lambda: kbb.diagnostics.HessianEigenvalues(
        np.array([3.0, 1.0]), np.array([1e-4, 1e-3]), 12, True
    ),
    kbb.diagnostics.HessianTrace: lambda: kbb.diagnostics.HessianTrace(5.0, 0.5, 20),
    kbb.diagnostics.LinearPath: _linear_path,
    kbb.diagnostics.LossPlane: lambda: kbb.diagnostics.LossPlane(
        np.array([0.0, 1.0]), np.array([0.0, 1.0]), np.array([[1.0, 2.0], [3.0, 4.0]])
    ),
    kbb.diagnostics.RandomPotential: _random_potential,
    kbb.diagnostics.Sharpness: lambda: kbb.diagnostics.Sharpness(
        0.5, 1.0, 1.01, "ascent", True, 9, {"ascent": (1.01, 1.01), "l-bfgs-b": (1.0,)}
    ),
    kbb.diagnostics.NoiseScale: lambda: kbb.diagnostics.NoiseScale(
        value=150.0,
        trace=3.0,
        gradient_norm_squared=0.02,
        interval=(120.0, 190.0),
        draws=20,
    ),
}

ENTRIES = [*LAYERS, *SCHEDULES, *CALLBACKS, *OPTIMIZERS]
