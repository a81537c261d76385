"""Batch norm that mixes each sample's own statistics into the stored ones, in inference.

Summers & Dinneen (2020), arXiv 1906.03548, "inference example weighing". With a weight a:

    mean = a * mean_of_sample + (1 - a) * moving_mean
    variance = a * mean_square_of_sample + (1 - a) * moving_mean_square - mean^2
"""

import keras
from keras import ops


class ExampleWeighing(keras.layers.BatchNormalization):
    """Batch norm for inference; the features are on the last axis.

    Args:
        weight: Of the sample; 0 is plain batch norm.
        **kwargs: As Keras's layer.
    """

    def __init__(self, weight, **kwargs):
        super().__init__(**kwargs)
        self.weight = weight

    def call(self, inputs, training=None, mask=None):  # noqa: ARG002 - Keras's signature
        """The normalized input."""
        axes = tuple(range(1, len(inputs.shape) - 1))
        means = ops.mean(inputs, axis=axes, keepdims=True)
        squares = ops.mean(ops.square(inputs), axis=axes, keepdims=True)
        stored_square = self.moving_variance + ops.square(self.moving_mean)
        mean = self.weight * means + (1 - self.weight) * self.moving_mean
        square = self.weight * squares + (1 - self.weight) * stored_square
        deviation = ops.sqrt(square - ops.square(mean) + self.epsilon)
        return self.gamma * (inputs - mean) / deviation + self.beta
