"""Layers for large batches, and the conversion of whole models to them."""

from keras_bigbatch.layers._conversion import to_ghost, to_plain
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization
from keras_bigbatch.layers._ghost_summary import ghost_summary

__all__ = ["GhostBatchNormalization", "ghost_summary", "to_ghost", "to_plain"]
