"""The loss of each sample, and weights for each sample, with any number of outputs."""

import copy
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
from keras import ops

from keras_bigbatch._typing import Tensor

_LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]


class SampleLosses:
    """The losses that `compile` was given, before their reduction.

    Args:
        loss: As in `compile`: one, or a list or dictionary with one or None for each output.
        loss_weights: As in `compile`.
        output_names: The names of the model's outputs, in the order of the flat outputs.
    """

    def __init__(self, loss: Any, loss_weights: Any, output_names: list[str]) -> None:
        self._names = output_names
        losses = [keras.losses.get(each) for each in self._by_output(loss)]
        # Keras's reduction decides how several values of one sample are combined.
        self._is_sum = [getattr(each, "reduction", None) == "sum" for each in losses]
        if all(each is None for each in losses):
            raise ValueError(
                "`LargeBatchModel` weights the loss of each sample, so `compile` needs a `loss`. "
                f"Received: loss={loss!r}. A loss from `add_loss` alone has no samples."
            )
        for each in losses:
            if getattr(each, "reduction", None) == "mean_with_sample_weight":
                raise ValueError(
                    "`LargeBatchModel` works through sample weights, but "
                    "reduction='mean_with_sample_weight' divides by their sum, which undoes it. "
                    f"Received: loss={loss!r}. Use reduction='sum_over_batch_size'."
                )
        self._losses = [None if each is None else _unreduced(each) for each in losses]
        weights = self._by_output(loss_weights)
        self._weights = [1.0 if weight is None else weight for weight in weights]

    def values(self, y: Any, y_pred: Any) -> list[Tensor | None]:
        """Returns the loss of each output before the reduction, [B, ...]; None if it has none."""
        values: list[Tensor | None] = []
        predictions = self._by_output(y_pred)
        for loss, true, predicted in zip(
            self._losses, self._by_output(y), predictions, strict=True
        ):
            if loss is None:
                values.append(None)
                continue
            value = loss(true, predicted)
            if len(value.shape) == 0:
                raise ValueError(
                    "`LargeBatchModel` weights the loss of each sample, but a `loss` given to "
                    "`compile` returns one number for the whole batch. Return one per sample."
                )
            values.append(value)
        return values

    def of_samples(self, values: list[Tensor | None], sample_weight: Any) -> Tensor:
        """Returns each sample's part of the training loss, [B], up to a common factor.

        Args:
            values: What `values` returned.
            sample_weight: As Keras passes it to `compute_loss`.
        """
        total: Tensor = 0.0
        given = self._by_output(sample_weight)
        for value, is_sum, weight, samples in zip(
            values, self._is_sum, self._weights, given, strict=True
        ):
            if value is None:
                continue
            if samples is not None:
                value = value * _with_rank(ops.cast(samples, value.dtype), len(value.shape))
            axes = tuple(range(1, len(value.shape)))
            if axes:
                value = ops.sum(value, axis=axes) if is_sum else ops.mean(value, axis=axes)
            total = total + weight * value
        return total

    def weights(
        self, values: list[Tensor | None], sample_weight: Any, factor: Tensor
    ) -> list[Tensor]:
        """Returns `sample_weight` times `factor` [B], for each output.

        Args:
            values: What `values` returned.
            sample_weight: As Keras passes it to `compute_loss`.
            factor: A factor for each sample.
        """
        weights = []
        given = self._by_output(sample_weight)
        for value, samples in zip(values, given, strict=True):
            if value is None:
                weights.append(factor)
                continue
            rank = len(value.shape)
            # In the value's own shape, since Keras multiplies the mask into it in place.
            weight = _with_rank(factor, rank) * ops.ones_like(value, dtype=factor.dtype)
            if samples is not None:
                weight = weight * _with_rank(ops.cast(samples, factor.dtype), rank)
            weights.append(weight)
        return weights

    def _by_output(self, structure: Any) -> list[Any]:
        """Returns an entry per output, from what Keras takes: one for all, a list or a dict."""
        if isinstance(structure, dict):
            return [structure.get(name) for name in self._names]
        if isinstance(structure, list | tuple):
            if len(structure) != len(self._names):
                raise ValueError(
                    f"The model has the {len(self._names)} outputs {self._names}. Received: "
                    f"{len(structure)} entries. Pass one per output, None for an output without."
                )
            return list(structure)
        return [structure] * len(self._names)


def _unreduced(loss: keras.losses.Loss | _LossFunction) -> keras.losses.Loss:
    """Returns a loss that returns its values, masked as Keras masks them, but not reduced."""
    if isinstance(loss, keras.losses.Loss):
        loss = copy.copy(loss)
        loss.reduction = "none"
        return loss
    return _FunctionLoss(loss)


class _FunctionLoss(keras.losses.Loss):
    """A function of (y_true, y_pred), which Keras calls with the same last axis on both."""

    def __init__(self, function: _LossFunction) -> None:
        super().__init__(name="function_loss", reduction="none")
        self._function = function

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        return self._function(y_true, y_pred)


def _with_rank(weight: Tensor, rank: int) -> Tensor:
    """Returns `weight` with axes of size 1 added at the end, or without one that is too many."""
    given = len(weight.shape)
    if given < rank:
        return ops.expand_dims(weight, tuple(range(given, rank)))
    return ops.squeeze(weight, axis=-1) if given > rank and weight.shape[-1] == 1 else weight
