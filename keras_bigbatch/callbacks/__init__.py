"""Callbacks that watch a training, or steer it."""

from keras_bigbatch.callbacks.gradient_noise_scale import GradientNoiseScale
from keras_bigbatch.callbacks.layer_strides import LayerStrides
from keras_bigbatch.callbacks.reduce_lr_on_weight_distance import ReduceLROnWeightDistance
from keras_bigbatch.callbacks.weight_distance import WeightDistance

__all__ = ["GradientNoiseScale", "LayerStrides", "ReduceLROnWeightDistance", "WeightDistance"]
