"""Batch norm's moving statistics, re-estimated at other weights without changing the model."""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bigbatch import _backend, _parameters
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.stateless_loss import stateless_update
from keras_bigbatch._private_api import flatten_layers
from keras_bigbatch._typing import Tensor, Vector, Weights


class ReestimatedStatistics:
    """Estimates the moving statistics at which training with fixed weights would settle.

    A training step moves a layer's statistic to `rho * old + rest`, whatever its momentum and
    groups are. Two steps on the same batch, the first from 0, determine both. On this batch the
    statistic settles at `rest / (1 - rho)`; the result is the mean over the samples of the data.
    The variance is the mean of the batches' (or ghost batches') variances, as in training.

    Args:
        loss: The loss whose model and data are used.
    """

    def __init__(self, loss: DatasetLoss) -> None:
        self._loss = loss
        self._state = _parameters.state_variables(loss.model)
        statistics = set()
        for layer in flatten_layers(loss.model):
            if isinstance(layer, keras.layers.BatchNormalization):
                statistics |= {id(layer.moving_mean), id(layer.moving_variance)}
        self._positions = [i for i, v in enumerate(self._state) if id(v) in statistics]
        update = stateless_update(loss.model)

        def settled(values: Any, zeros: list[Tensor], batch: Any) -> list[Tensor]:
            once = update(values, zeros, batch)
            moved = [once[i] if i in self._positions else each for i, each in enumerate(zeros)]
            twice = update(values, moved, batch)
            return [_limit(once[i], twice[i]) for i in self._positions]

        self._settled = _backend.active().gradients.compiled(settled, loss.model)

    def __call__(self, weights: Vector, state: Weights) -> Weights:
        """Returns the state with the statistics at `weights`, in one pass over the data."""
        loss = self._loss
        state = list(state)
        if not self._positions:
            return state
        values = loss.tensors(weights)
        zeros = list(state)
        for i in self._positions:
            zeros[i] = np.zeros_like(np.asarray(state[i]))
        start = loss.state_tensors(zeros)
        sums = [np.zeros(self._state[i].shape) for i in self._positions]
        count = 0
        with contextlib.closing(loss.tensor_batches()) as batches:
            for samples, batch in batches:
                count += samples
                for total, found in zip(sums, self._settled(values, start, batch), strict=True):
                    total += samples * np.asarray(ops.convert_to_numpy(found), np.float64)
        for i, total in zip(self._positions, sums, strict=True):
            mean = total / count
            state[i] = np.where(np.isfinite(mean), mean, state[i])
        return state


def _limit(once: Tensor, twice: Tensor) -> Tensor:
    """Returns `rest / (1 - rho)` of `once = rest` and `twice = (1 + rho) * rest`, one rho for all.

    NaN where nothing moves: in a frozen layer.
    """
    rho = ops.sum(once * twice) / ops.sum(once * once) - 1.0
    return once / (1.0 - rho)
