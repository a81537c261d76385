"""Callbacks that watch training or steer it."""

from keras_bigbatch.callbacks._gradient_noise_scale import GradientNoiseScale
from keras_bigbatch.callbacks._layer_strides import LayerStrides
from keras_bigbatch.callbacks._reduce_lr_on_weight_distance import ReduceLROnWeightDistance
from keras_bigbatch.callbacks._weight_distance import WeightDistance

__all__ = ["GradientNoiseScale", "LayerStrides", "ReduceLROnWeightDistance", "WeightDistance"]
