"""The only place that imports jax, tensorflow or torch.

One module a backend, all with the same functions; `active()` is the one of the backend that Keras
runs on. Importing this package loads none of them.
"""

import importlib
from types import ModuleType

import keras


def active() -> ModuleType:
    """The module of the running backend."""
    return importlib.import_module(f"{__name__}.{keras.backend.backend()}")
