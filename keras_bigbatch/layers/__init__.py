"""Layers for large batches, the conversion of whole models to them, and their statistics."""

from keras_bigbatch.layers._conversion import to_ghost, to_plain
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization
from keras_bigbatch.layers._ghost_noise import GhostNoise
from keras_bigbatch.layers._ghost_summary import ghost_summary
from keras_bigbatch.layers._renew_statistics import renew_statistics

__all__ = [
    "GhostBatchNormalization",
    "GhostNoise",
    "ghost_summary",
    "renew_statistics",
    "to_ghost",
    "to_plain",
]
