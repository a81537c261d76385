"""Optimizers for large batches: scaled recipes, layer-wise rates, clipping of first updates."""

from keras_bigbatch.optimizers._cblr import CBLR
from keras_bigbatch.optimizers._clip_first_updates import ClipFirstUpdates
from keras_bigbatch.optimizers._lars import LARS
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer
from keras_bigbatch.optimizers._mclr import MCLR
from keras_bigbatch.optimizers._percent_delta import PercentDelta
from keras_bigbatch.optimizers._scale_optimizer import scale_optimizer

__all__ = [
    "CBLR",
    "ClipFirstUpdates",
    "LARS",
    "LayerwiseOptimizer",
    "MCLR",
    "PercentDelta",
    "scale_optimizer",
]
