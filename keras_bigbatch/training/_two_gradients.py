"""The gradients of a step of sharpness-aware training: at the weights, and from there."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._backend import Step
from keras_bigbatch._measuring.stateless_loss import takes_training
from keras_bigbatch._parameters import trainable_variables
from keras_bigbatch._typing import Tensor
from keras_bigbatch.training._perturbation import Perturbation
from keras_bigbatch.training._sample_groups import by_groups

_LossAt = Callable[..., tuple[Tensor, tuple[Tensor, Any, list[Tensor | None]]]]


def check_trainable(model: keras.Model, perturbation: Perturbation) -> None:
    """Raises `ValueError` where nothing is trainable, or several devices share groups."""
    trainable_variables(model)
    size = perturbation.virtual_batch
    devices = _backend.active().replicas.parts_of_a_batch(model)
    if size is not None and devices > 1:
        raise ValueError(
            f"`virtual_batch` is for one device. Received: virtual_batch={size}, and a batch that "
            f"{devices} devices share. Make it None: on TensorFlow each device's part then has a "
            "perturbation of its own, and `gradient_accumulation_steps` makes the parts smaller."
        )


def two_gradients(model: keras.Model, perturbation: Perturbation) -> Callable[..., Step]:
    """Returns the step as a pure function, for a backend's `train_step`.

    What is reported is of the first pass, whose layers move their statistics. The second pass
    starts from the same state: random layers draw what they have drawn, and what is assigned in it
    is dropped.

    Args:
        model: A compiled model.
        perturbation: From the weights to the point of the second gradient.
    """
    backend, size = _backend.active(), perturbation.virtual_batch

    def step(
        variables: Any, weights: list[Tensor], state: list[Tensor], scale: Tensor, batch: Any
    ) -> Step:
        loss = _loss_at(model, variables)

        def of_samples(state: list[Tensor], batch: Any) -> Step:
            with_results = backend.gradients.gradient_and_results(loss)
            # Torch has a random state outside of the variables: the second pass draws from it anew.
            with backend.gradients.random_state_kept():
                (value, y_pred, moved), first = with_results(weights, state, scale, batch)
            there, finite = perturbation.of(weights, first, scale)
            _, second = with_results(there, state, scale, batch)
            # An optimizer that scales the loss skips what is not finite, and must see it.
            second = [ops.where(finite, each, ops.full_like(each, float("nan"))) for each in second]
            return Step(value, y_pred, second, moved)

        if size is None:
            return of_samples(state, batch)
        metrics = {id(each) for each in model.metrics_variables}
        is_metric = [id(each) in metrics for each in variables]

        def of_group(state: list[Tensor], batch: Any) -> Step:
            taken = of_samples(state, batch)
            return taken._replace(state=_where(is_metric, [None] * len(state), taken.state))

        averaged = [keras.backend.is_float_dtype(each.dtype) for each in variables]
        taken = by_groups(of_group, size, averaged, state, batch)
        # Keras keeps the loss of each output in metrics, which are to see the batch as a whole.
        seen = _after_the_loss(model, variables, weights, state, batch, taken.y_pred)
        return taken._replace(state=_where(is_metric, seen, taken.state))

    return step


def _where(condition: list[bool], some: list[Any], others: list[Any]) -> list[Any]:
    chosen = zip(condition, some, others, strict=True)
    return [one if holds else other for holds, one, other in chosen]


def _after_the_loss(
    model: keras.Model,
    variables: Any,
    weights: list[Tensor],
    state: list[Tensor],
    batch: Any,
    y_pred: Any,
) -> list[Tensor]:
    """What `compute_loss` alone makes of the state."""
    x, y, sample_weight = batch
    mode = {"training": True} if takes_training(model.compute_loss) else {}
    mapping = zip([*model.trainable_variables, *variables], [*weights, *state], strict=True)
    with keras.StatelessScope(state_mapping=list(mapping), collect_losses=True) as scope:
        model.compute_loss(x, y, y_pred, sample_weight, **mode)
        return [scope.get_current_value(each) for each in variables]


def _loss_at(model: keras.Model, variables: Any) -> _LossAt:
    """The scaled loss as a pure function, with the plain one, the prediction and the new state."""
    mode = {"training": True}
    call_arguments = mode if takes_training(model.call) else {}
    loss_arguments = mode if takes_training(model.compute_loss) else {}

    def loss_at(
        weights: list[Tensor], state: list[Tensor], scale: Tensor, batch: Any
    ) -> tuple[Tensor, tuple[Tensor, Any, list[Tensor | None]]]:
        x, y, sample_weight = batch
        mapping = zip([*model.trainable_variables, *variables], [*weights, *state], strict=True)
        with keras.StatelessScope(state_mapping=list(mapping), collect_losses=True) as scope:
            before = [scope.get_current_value(each) for each in variables]
            y_pred = model(x, **call_arguments)
            loss = model.compute_loss(x, y, y_pred, sample_weight, **loss_arguments)
            after = [scope.get_current_value(each) for each in variables]
        moved = [None if new is old else new for new, old in zip(after, before, strict=True)]
        return ops.multiply(loss, scale), (loss, y_pred, moved)

    return loss_at
