"""Registration of our classes with Keras, and recognition of Keras's own."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

PACKAGE = "keras_bigbatch"

_T = TypeVar("_T")


def is_keras(kind: type[Any]) -> bool:
    """Returns whether a class is one of Keras's own."""
    return kind.__module__.partition(".")[0] == "keras"


def serializable(target: _T) -> _T:
    """Registers a class with Keras, so that `.keras` files restore it on any backend."""
    register: Callable[[_T], _T] = keras.saving.register_keras_serializable(package=PACKAGE)
    return register(target)
