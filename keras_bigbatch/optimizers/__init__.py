"""Optimizers that give every layer its own rate, and clipping for the first updates."""

from keras_bigbatch.optimizers._cblr import CBLR
from keras_bigbatch.optimizers._clip_first_updates import ClipFirstUpdates
from keras_bigbatch.optimizers._lars import LARS
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer
from keras_bigbatch.optimizers._mclr import MCLR
from keras_bigbatch.optimizers._percent_delta import PercentDelta

__all__ = ["CBLR", "ClipFirstUpdates", "LARS", "LayerwiseOptimizer", "MCLR", "PercentDelta"]
