"""The training step of `fit` on TensorFlow."""

from typing import Any

import keras

from keras_bigbatch._backend._protocol import StepFunction
from keras_bigbatch._backend.reference import training as reference
from keras_bigbatch._backend.tensorflow.replicas import replicas


def train_step(model: keras.Model, step: StepFunction, data: Any) -> dict[str, Any]:
    """By the reference. A replica's loss is its share of the batch's."""
    return reference.train_step(model, step, data, replicas())
