"""The training step of `fit` on PyTorch."""

from typing import Any

import keras
import torch

from keras_bigbatch._backend._gradients_protocol import StepFunction
from keras_bigbatch._backend.reference import training as reference


@torch.no_grad()
def train_step(model: keras.Model, step: StepFunction, data: Any) -> dict[str, Any]:
    """By the reference. Only the derivatives need a graph, and they ask for it themselves."""
    return reference.train_step(model, step, data, replicas=1)
