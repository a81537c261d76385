"""The forms specific to JAX."""

from keras_bigbatch._backend.jax import (
    ghost_norm,
    gradients,
    optimizer,
    replicas,
    training,
    weights,
)

__all__ = ["ghost_norm", "gradients", "optimizer", "replicas", "training", "weights"]
