"""Optimizers that give every layer its own rate, and clipping for the first updates."""

from keras_bigbatch.optimizers.cblr import CBLR
from keras_bigbatch.optimizers.clip_first_updates import ClipFirstUpdates
from keras_bigbatch.optimizers.lars import LARS
from keras_bigbatch.optimizers.layerwise import LayerwiseOptimizer
from keras_bigbatch.optimizers.mclr import MCLR
from keras_bigbatch.optimizers.percent_delta import PercentDelta

__all__ = ["CBLR", "ClipFirstUpdates", "LARS", "LayerwiseOptimizer", "MCLR", "PercentDelta"]
