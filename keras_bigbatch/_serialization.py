"""Registration of classes with Keras."""

from collections.abc import Callable
from typing import TypeVar

import keras

PACKAGE = "keras_bigbatch"

_T = TypeVar("_T")


def serializable(target: _T) -> _T:
    """Registers a class with Keras, so that it comes back from `.keras` files on any backend."""
    register: Callable[[_T], _T] = keras.saving.register_keras_serializable(package=PACKAGE)
    return register(target)
