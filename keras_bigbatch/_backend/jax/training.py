"""The training step of `fit` on JAX, which is a pure function."""

from typing import Any

import keras
from keras import ops

from keras_bigbatch._backend._gradients_protocol import StepFunction
from keras_bigbatch._backend.reference.training import moved_metrics


def train_step(
    model: keras.Model, step: StepFunction, state: tuple[Any, ...], data: Any
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """From the values of all variables to the metrics and the new values."""
    weights, others, optimizer_values, metrics = state
    batch = keras.utils.unpack_x_y_sample_weight(data)
    optimizer = model.optimizer
    mapping = list(zip(optimizer.variables, optimizer_values, strict=True))
    with keras.StatelessScope(state_mapping=mapping):
        scale = optimizer.scale_loss(ops.ones((), "float32"))
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    before = [*others, *metrics]
    taken = step(variables, weights, before, scale, batch)
    after = [old if new is None else new for old, new in zip(before, taken.state, strict=True)]
    others, metrics = after[: len(others)], after[len(others) :]
    weights, optimizer_values = optimizer.stateless_apply(optimizer_values, taken.gradient, weights)
    mapping = list(zip(model.metrics_variables, metrics, strict=True))
    with keras.StatelessScope(state_mapping=mapping) as scope:
        logs = moved_metrics(model, taken.loss, taken.y_pred, batch)
    metrics = [scope.get_current_value(each) for each in model.metrics_variables]
    return logs, (weights, others, optimizer_values, metrics)
