"""The training step of `fit`, where variables are assigned in place."""

from typing import Any

import keras
from keras import ops

from keras_bigbatch._backend._gradients_protocol import StepFunction
from keras_bigbatch._private_step import global_seed_state, loss_tracker
from keras_bigbatch._typing import Tensor


def train_step(model: keras.Model, step: StepFunction, data: Any, replicas: int) -> dict[str, Any]:
    """Takes the gradients on copies of all values, and then assigns.

    Args:
        model: A compiled model.
        step: Takes the gradients.
        data: What `fit` gives to `train_step`.
        replicas: The number of them, each of which has its share of the loss.
    """
    batch = keras.utils.unpack_x_y_sample_weight(data)
    state = [*model.non_trainable_variables, *model.metrics_variables]
    seed = global_seed_state()
    if seed is not None:  # Layers may draw from it, and it is no variable of theirs.
        state.append(seed)
    weights = model.trainable_variables
    values = [ops.convert_to_tensor(each) for each in weights]
    state_values = [ops.convert_to_tensor(each) for each in state]
    scale = model.optimizer.scale_loss(ops.ones((), "float32"))
    taken = step(state, values, state_values, scale, batch)
    for variable, before, new in zip(state, state_values, taken.state, strict=True):
        if new is None:
            continue
        if variable.aggregation == "sum":
            # Replicas that assign such a variable would add up what it was before, too.
            variable.assign_add(new - before)
        else:
            variable.assign(new)
    model.optimizer.apply(taken.gradient, weights)
    return moved_metrics(model, taken.loss * replicas, taken.y_pred, batch)


def moved_metrics(model: keras.Model, loss: Tensor, y_pred: Any, batch: Any) -> dict[str, Any]:
    """Moves the metrics by a batch, and returns them by name.

    Args:
        model: A compiled model.
        loss: Of the batch.
        y_pred: Its prediction.
        batch: As (x, y, sample_weight).
    """
    x, y, sample_weight = batch
    first = next(each for each in keras.tree.flatten(x) if each is not None)
    loss_tracker(model).update_state(loss, sample_weight=ops.shape(first)[0])
    metrics: dict[str, Any] = model.compute_metrics(x, y, y_pred, sample_weight=sample_weight)
    return metrics
