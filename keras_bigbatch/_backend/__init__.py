"""The only place that imports jax, tensorflow or torch.

One folder per backend, all with the same modules; `active()` returns the folder of the backend that
Keras runs on. Importing this package loads none of them. `_protocol` has the contracts.
"""

import keras

from keras_bigbatch._backend._gradients_protocol import Step
from keras_bigbatch._backend._protocol import Backend, GhostMoments, MomentumOptimizer

__all__ = ["Backend", "GhostMoments", "MomentumOptimizer", "Step", "active"]


def active() -> Backend:
    """Returns the running backend's modules."""
    # Import statements and not importlib, which torch's compiler cannot trace.
    backend = keras.backend.backend()
    if backend == "jax":
        from keras_bigbatch._backend import jax

        return jax
    if backend == "tensorflow":
        from keras_bigbatch._backend import tensorflow

        return tensorflow
    if backend == "torch":
        from keras_bigbatch._backend import torch

        return torch
    raise RuntimeError(
        "keras_bigbatch trains on the backends jax, tensorflow and torch. Received: "
        f"{backend!r}. Set the environment variable KERAS_BACKEND before importing keras."
    )
