"""One entry a public class: how to make one. `test_contract.py` drives all of them."""

from dataclasses import dataclass, field
from typing import Any

import keras

import keras_bigbatch as kbb


@dataclass(frozen=True)
class Entry:
    """A public class, and arguments other than its defaults to make one from."""

    cls: type
    kind: str  # "layer", "schedule", "callback" or "record" (a frozen dataclass)
    kwargs: dict[str, Any] = field(default_factory=dict)
    label: str = ""

    def make(self, **changes: Any) -> Any:
        return self.cls(**{**self.kwargs, **changes})

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
    )
]

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
        },
        "of-scaler",
    ),
]

CALLBACKS = [
    Entry(kbb.callbacks.WeightDistance, "callback", {"frequency": 1, "per_layer": True}),
]


def _large_batch_model():
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(1)(inputs)
    return kbb.training.LargeBatchModel(inputs, outputs, 3.0, discard_small_loss=0.3, seed=1)


# Made of tensors, which must not be shared between tests.
MODELS = {kbb.training.LargeBatchModel: _large_batch_model}

# A plan and a fit are made by functions, which know all their fields.
RECORDS = {
    kbb.schedules.Regime: _regime,
    kbb.schedules.Plan: lambda: _regime().at(batch=32),
    kbb.diagnostics.DiffusionFit: lambda: kbb.diagnostics.fit_diffusion(
        [10, 20, 50, 100], [1.0, 1.2, 1.5, 1.6]
    ),
}

ENTRIES = [*LAYERS, *SCHEDULES, *CALLBACKS]
