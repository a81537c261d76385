"""Learning rates that are a number or a schedule: checked, evaluated and saved."""

import json
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_bigbatch._arguments import positive_number
from keras_bigbatch._typing import Tensor

# Keras has no type information: a class that is `Any` could not be asked for with `isinstance`.
LearningRateSchedule: Any = keras.optimizers.schedules.LearningRateSchedule
LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule
# An optimizer also takes a function.
OptimizerLearningRate: TypeAlias = LearningRate | Callable[[], Tensor]


def checked_learning_rate(learning_rate: Any) -> LearningRate:
    """Returns a positive `float` or a schedule, or raises a `ValueError`."""
    if isinstance(learning_rate, LearningRateSchedule):
        return learning_rate
    return positive_number(
        "learning_rate",
        learning_rate,
        "Or pass a `keras.optimizers.schedules.LearningRateSchedule`; a `Regime` also takes "
        "`{epoch: rate}`. For a variable pass `float(variable)`, for a plan `plan.learning_rate`. "
        "For a function of the step, write a subclass that has it as its `__call__`.",
    )


def rate_dtype() -> str:
    """The type of rates: float32 or wider, whatever Keras's default is."""
    return str(keras.backend.result_type(keras.config.floatx(), "float32"))


def rate_at(learning_rate: LearningRate, step: Tensor) -> Tensor:
    """Returns the rate at a step of the schedule's own count, as a scalar tensor."""
    if isinstance(learning_rate, LearningRateSchedule):
        learning_rate = learning_rate(step)
    return ops.cast(learning_rate, rate_dtype())


def serialize_learning_rate(learning_rate: LearningRate) -> Any:
    """The config entry of a learning rate: a float as it is, a schedule as Keras serializes it."""
    if isinstance(learning_rate, LearningRateSchedule):
        return keras.optimizers.schedules.serialize(learning_rate)
    return learning_rate


def deserialize_learning_rate(config: Any) -> LearningRate:
    """The inverse of `serialize_learning_rate`."""
    return keras.optimizers.schedules.deserialize(config) if isinstance(config, dict) else config


def learning_rate_key(learning_rate: LearningRate) -> Hashable:
    """A key that is equal for equal rates: schedules are compared by class and config."""
    if not isinstance(learning_rate, LearningRateSchedule):
        return learning_rate
    try:
        config = serialize_learning_rate(learning_rate)
    except Exception:  # it cannot be saved, for whatever reason its author has
        return id(learning_rate)
    return type(learning_rate), json.dumps(config, sort_keys=True, default=repr)
