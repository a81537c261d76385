"""Keras's own classes, the registration of ours, and what files hold besides weights."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

PACKAGE = "keras_bigbatch"

_T = TypeVar("_T")
_STATE = "state"


def is_keras(kind: type[Any]) -> bool:
    """Returns whether a class is one of Keras's own."""
    return kind.__module__.partition(".")[0] == "keras"


def serializable(target: _T) -> _T:
    """Registers a class with Keras, so that `.keras` files restore it on any backend."""
    register: Callable[[_T], _T] = keras.saving.register_keras_serializable(package=PACKAGE)
    return register(target)


class SavedDraws:
    """A layer that draws random numbers, whose state Keras then finds and saves.

    It is in the files of a model, beside the weights, so that a training that goes on from one
    draws as if it had never stopped. In `get_weights()` it is not.
    """

    seed_generator: keras.random.SeedGenerator

    def save_own_variables(self, store: Any) -> None:
        store[_STATE] = self.seed_generator.state

    def load_own_variables(self, store: Any) -> None:
        # The file of a model without the layer has no state.
        if _STATE in store.keys():  # noqa: SIM118 - a group of an HDF5 file has `keys` only
            self.seed_generator.state.assign(store[_STATE])
