"""The training step of `fit` on TensorFlow."""

from typing import Any

import keras

from keras_bigbatch._backend._gradients_protocol import StepFunction
from keras_bigbatch._backend.reference import training as reference
from keras_bigbatch._backend.tensorflow.replicas import replicas
from keras_bigbatch._private_step import build_metrics


def train_step(model: keras.Model, step: StepFunction, data: Any) -> dict[str, Any]:
    """By the reference. A replica's loss is its share of the batch's."""
    if model.run_eagerly:  # a graph is traced again where it has made variables
        build_metrics(model, data)
    return reference.train_step(model, step, data, replicas())
