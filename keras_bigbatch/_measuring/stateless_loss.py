"""The compiled loss of a model as a pure function of its weights, its state and a batch."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_bigbatch import _parameters
from keras_bigbatch._typing import Tensor
from keras_bigbatch._virtual_batch import measurement

StatelessLoss = Callable[[Sequence[Tensor], Sequence[Tensor], Any], Tensor]


def stateless_loss(model: keras.Model, training: bool) -> StatelessLoss:
    """Returns `loss(values, state, (x, y, sample_weight))`, a scalar, on any backend.

    It is `model.compute_loss` of the model's outputs for the batch. It includes everything that was
    compiled, `add_loss`, regularizers and a subclass's own `compute_loss`. All of this runs in a
    stateless scope: what layers, losses and metrics assign is dropped, so there is nothing to
    restore, even after an exception.

    Args:
        model: A compiled model.
        training: Passed to the model's `call` and `compute_loss`.
    """
    forward = _Forward(model, training)

    def loss(values: Sequence[Tensor], state: Sequence[Tensor], batch: Any) -> Tensor:
        x, y, sample_weight = batch
        with forward.scope(values, state):
            y_pred = forward(x)
            return model.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **forward.loss_arguments
            )

    return loss


def stateless_outputs(model: keras.Model, training: bool) -> Callable[..., Any]:
    """Returns `outputs(values, state, batch)`: the model's outputs for the batch's `x`."""
    forward = _Forward(model, training)

    def outputs(values: Sequence[Tensor], state: Sequence[Tensor], batch: Any) -> Any:
        with forward.scope(values, state):
            return forward(batch[0])

    return outputs


def stateless_update(model: keras.Model) -> Callable[..., list[Tensor]]:
    """Returns `update(values, state, batch)`: the state after a training step.

    It is what the layers assign in the forward pass with `training=True`.
    """
    forward = _Forward(model, training=True)

    def update(values: Sequence[Tensor], state: Sequence[Tensor], batch: Any) -> list[Tensor]:
        with forward.scope(values, state) as scope:
            forward(batch[0])
        return [scope.get_current_value(v) for v in _parameters.state_variables(model)]

    return update


class _Forward:
    """The forward pass of a model, in a scope where nothing is assigned."""

    def __init__(self, model: keras.Model, training: bool) -> None:
        self._model = model
        state = _parameters.state_variables(model)
        self._variables = [*model.trainable_variables, *state]
        mode = {"training": training}
        self._call_arguments = mode if takes_training(model.call) else {}
        self.loss_arguments = mode if takes_training(model.compute_loss) else {}

    def scope(self, values: Sequence[Tensor], state: Sequence[Tensor]) -> Any:
        """Returns a scope in which the variables have these values."""
        mapping = list(zip(self._variables, [*values, *state], strict=True))
        # Trackers start from zero: reading their values would compile them in as constants.
        trackers = self._model.metrics_variables
        mapping += [(each, ops.zeros(each.shape, each.dtype)) for each in trackers]
        return keras.StatelessScope(state_mapping=mapping, collect_losses=True)

    def __call__(self, x: Any) -> Any:
        with measurement():
            return self._model(x, **self._call_arguments)


def takes_training(method: Any) -> bool:
    """Whether a `call` or `compute_loss` is told if it is training."""
    return "training" in inspect.signature(method).parameters
