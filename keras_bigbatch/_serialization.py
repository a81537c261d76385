"""Registration with Keras, and learning rates that may be numbers or schedules in a config."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

PACKAGE = "keras_bigbatch"

_T = TypeVar("_T")


def serializable(target: _T) -> _T:
    """Registers a class with Keras, so that it comes back from `.keras` files on any backend."""
    register: Callable[[_T], _T] = keras.saving.register_keras_serializable(package=PACKAGE)
    return register(target)


def serialize_learning_rate(learning_rate: Any) -> Any:
    """The config entry of a learning rate: a float as it is, a schedule as Keras serializes it."""
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return keras.optimizers.schedules.serialize(learning_rate)
    return learning_rate


def deserialize_learning_rate(learning_rate: Any) -> Any:
    """The inverse of `serialize_learning_rate`."""
    if isinstance(learning_rate, dict):
        return keras.optimizers.schedules.deserialize(learning_rate)
    return learning_rate
