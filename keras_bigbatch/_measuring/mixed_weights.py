"""The loss at mixtures of several sets of weights."""

from collections.abc import Sequence
from typing import Any, get_args

import keras
import numpy as np
import numpy.typing as npt

from keras_bigbatch import _parameters
from keras_bigbatch._arguments import one_of
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss, checked_model
from keras_bigbatch._measuring.reestimated_statistics import ReestimatedStatistics
from keras_bigbatch._typing import Array, MixtureMode, Weights

MIXTURE_MODES: tuple[MixtureMode, ...] = get_args(MixtureMode)


class MixedWeights:
    """The loss of a model over a data set at weighted sums of given sets of weights.

    Args:
        model: A compiled model, which is not changed.
        sets: What `checked_sets` returned.
        batches: The data.
        mode: Which statistics a mixture uses, as `linear_path` describes.
    """

    def __init__(
        self,
        model: keras.Model,
        sets: Sequence[Weights],
        batches: Batches,
        mode: MixtureMode,
    ) -> None:
        mode = one_of("mode", mode, MIXTURE_MODES)
        self._sets = sets
        self._loss = DatasetLoss(model, batches, "training" if mode == "training" else "inference")
        self._state = _parameters.state_variables(model)
        self._estimate = ReestimatedStatistics(self._loss) if mode == "estimated" else None

    def __call__(self, shares: Sequence[float]) -> float:
        """Returns the loss at given shares of the sets. Shares on the sets' plane sum to 1."""
        loss = self._loss
        mixed = {
            id(variable): _mixed(variable, parts, shares)
            for variable, *parts in zip(loss.model.weights, *self._sets, strict=True)
        }
        vector = _parameters.flat([mixed[id(v)] for v in loss.variables], loss.dtype)
        # Seeds and the like are not weights: they stay.
        state: Weights = [mixed[id(v)] if id(v) in mixed else v.numpy() for v in self._state]
        if self._estimate is not None:
            state = self._estimate(vector, state)
        return loss.loss(vector, state)


def checked_points(name: str, points: npt.ArrayLike | None, default: Array) -> Array:
    """Returns a flat array of finite numbers, or raises a `ValueError`."""
    found = np.asarray(default if points is None else points, np.float64)
    if found.ndim != 1 or not len(found) or not np.isfinite(found).all():
        raise ValueError(
            f"`{name}` must be a flat list of one or more finite numbers. "
            f"Received: {name}={points!r}."
        )
    return found


def checked_sets(model: Any, **sets: Any) -> list[Weights]:
    """Returns the sets of weights as `get_weights()` does, or raises a `ValueError`.

    Args:
        model: The model that the weights belong to.
        **sets: The sets, by argument name.
    """
    checked_model(model)
    return [_checked(name, weights, model) for name, weights in sets.items()]


def _checked(name: str, weights: Any, model: keras.Model) -> Weights:
    if isinstance(weights, keras.Model):
        raise ValueError(
            f"`{name}` must be weights, not a model. Received: the model {weights.name!r}. Pass "
            "what its `get_weights()` returns; only the first argument, `model`, is a model."
        )
    if isinstance(weights, str | bytes | dict) or not hasattr(weights, "__iter__"):
        raise ValueError(
            f"`{name}` must be weights of this model, as `model.get_weights()` returns them. "
            f"Received: {name} of type {type(weights).__name__}."
        )
    arrays = [np.asarray(each) for each in weights]
    shapes, wanted = [a.shape for a in arrays], [tuple(v.shape) for v in model.weights]
    if shapes != wanted:
        raise ValueError(
            f"`{name}` must be weights of this model, as `model.get_weights()` returns them, "
            f"with the shapes {wanted}. Received: {shapes}."
        )
    return arrays


def _mixed(variable: Any, parts: Weights, shares: Sequence[float]) -> npt.NDArray[Any]:
    first = parts[0]
    if not np.issubdtype(first.dtype, np.floating):
        return first
    mixed = np.asarray(sum(share * part for share, part in zip(shares, parts, strict=True)))
    if variable.name == "moving_variance":
        # Beyond the sets a share is negative, but a variance must not be.
        mixed = np.maximum(mixed, np.minimum.reduce(parts))
    return mixed.astype(first.dtype)
