"""The forms specific to TensorFlow."""

from keras_bigbatch._backend.tensorflow import (
    ghost_norm,
    gradients,
    optimizer,
    replicas,
    training,
    weights,
)

__all__ = ["ghost_norm", "gradients", "optimizer", "replicas", "training", "weights"]
