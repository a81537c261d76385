"""What layer-wise optimizers compute from a whole tensor, in `keras.ops`: the reference."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial

import keras
from keras import ops

from keras_bigbatch._backend._protocol import MomentumOptimizer
from keras_bigbatch._typing import Tensor

SquaredNorm = Callable[[Tensor], Tensor]


def dense(gradient: Tensor) -> Tensor:
    """The gradient: each backend has other forms of its own."""
    return gradient


at_once = nullcontext


def all_zero(variable: keras.Variable) -> bool:
    """By a tensor of booleans."""
    return not bool(ops.any(ops.not_equal(variable, 0)))


def squared_norm(tensor: Tensor) -> Tensor:
    """By a tensor of squares."""
    wide = keras.backend.result_type(tensor.dtype, "float32")
    return ops.sum(ops.square(ops.cast(tensor, wide)))


def norm(tensor: Tensor) -> Tensor:
    """By `squared_norm`."""
    return ops.sqrt(squared_norm(tensor))


def median_magnitude(tensor: Tensor) -> Tensor:
    """By a sort."""
    return ops.median(ops.abs(tensor))


def usable_factor(ratio: Tensor, coefficient: float) -> Tensor:
    """By a choice that keeps both values."""
    usable = ops.logical_and(ratio > 0, ratio < float("inf"))
    return ops.where(usable, coefficient * ratio, ops.ones_like(ratio))


def clip_by_product(
    condition: Tensor,
    gradients: Sequence[Tensor],
    global_clipnorm: float,
    squared_norm: SquaredNorm,
) -> list[Tensor]:
    """Clips by a factor that is 1 if the condition does not hold.

    XLA copies whatever passes through a branch, but it merges a product into what follows.
    """
    factor = ops.cond(
        condition,
        lambda: _clip_factor(gradients, global_clipnorm, squared_norm),
        lambda: ops.ones((), "float32"),
    )
    return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients]


def clip_by_branch(
    condition: Tensor,
    gradients: Sequence[Tensor],
    global_clipnorm: float,
    squared_norm: SquaredNorm,
) -> list[Tensor]:
    """The same where branches are free and products are not."""

    def clipped() -> list[Tensor]:
        factor = _clip_factor(gradients, global_clipnorm, squared_norm)
        return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients]

    found: list[Tensor] = ops.cond(condition, clipped, lambda: list(gradients))
    return found


def _clip_factor(
    gradients: Sequence[Tensor], global_clipnorm: float, squared_norm: SquaredNorm
) -> Tensor:
    squares = [ops.cast(squared_norm(gradient), "float32") for gradient in gradients]
    length = ops.sqrt(ops.sum(ops.stack(squares)))
    return global_clipnorm / ops.maximum(length, global_clipnorm)


clip_where = partial(clip_by_product, squared_norm=squared_norm)


def momentum_step(
    optimizer: MomentumOptimizer,
    variable: keras.Variable,
    velocity: keras.Variable | None,
    factor: Tensor,
    rate: Tensor,
    update: Tensor,
) -> None:
    """In the update's precision, whatever the variable's is."""
    step = factor * rate * update if optimizer.rate_in_momentum else factor * update
    if velocity is None:
        move = -step
    else:
        move = optimizer.momentum * ops.cast(velocity, update.dtype) - step
        optimizer.assign(velocity, ops.cast(move, velocity.dtype))
        if optimizer.nesterov:
            move = optimizer.momentum * move - step
    if not optimizer.rate_in_momentum:
        move = rate * move
    optimizer.assign_add(variable, ops.cast(move, variable.dtype))


def update_together(
    optimizer: MomentumOptimizer,  # noqa: ARG001
    gradients: Sequence[Tensor],  # noqa: ARG001
    variables: Sequence[keras.Variable],  # noqa: ARG001
    learning_rate: Tensor,  # noqa: ARG001
) -> bool:
    """False: where everything is compiled together, there is nothing to gain."""
    return False
