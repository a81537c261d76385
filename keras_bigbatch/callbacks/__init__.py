"""Callbacks that watch a training."""

from keras_bigbatch.callbacks.weight_distance import WeightDistance

__all__ = ["WeightDistance"]
