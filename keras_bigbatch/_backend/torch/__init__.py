"""The forms specific to PyTorch."""

from keras_bigbatch._backend.torch import (
    ghost_norm,
    gradients,
    optimizer,
    replicas,
    training,
    weights,
)

__all__ = ["ghost_norm", "gradients", "optimizer", "replicas", "training", "weights"]
