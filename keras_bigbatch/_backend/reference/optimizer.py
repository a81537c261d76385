"""What layer-wise optimizers need of a whole tensor, in `keras.ops`: the reference.

Squares are summed in float32 or wider, whatever the tensor's type is.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._typing import Tensor


def dense(gradient: Tensor) -> Tensor:
    """The gradient as a plain tensor: TensorFlow has a form of its own for embeddings."""
    return gradient


def squared_norm(tensor: Tensor) -> Tensor:
    """The sum of all squares, a scalar on the tensor's device."""
    wide = keras.backend.result_type(tensor.dtype, "float32")
    return ops.sum(ops.square(ops.cast(tensor, wide)))


def norm(tensor: Tensor) -> Tensor:
    """The root of the sum of all squares."""
    return ops.sqrt(_backend.active().optimizer.squared_norm(tensor))


def median_magnitude(tensor: Tensor) -> Tensor:
    """The median of all absolute values; of two in the middle their mean."""
    return ops.median(ops.abs(tensor))


def usable_factor(ratio: Tensor, coefficient: float) -> Tensor:
    """`coefficient * ratio`, or 1 where the ratio is not positive and finite."""
    usable = ops.logical_and(ratio > 0, ratio < float("inf"))
    return ops.where(usable, coefficient * ratio, ops.ones_like(ratio))


def clip_where(first: Tensor, gradients: Sequence[Tensor], global_clipnorm: float) -> Any:
    """Clips the global norm if `first`. The norm is computed only then.

    XLA copies whatever passes through a branch, but it merges a product into what follows.
    """
    factor = ops.cond(
        first, lambda: _clip_factor(gradients, global_clipnorm), lambda: ops.ones((), "float32")
    )
    return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients]


def clip_by_branch(first: Tensor, gradients: Sequence[Tensor], global_clipnorm: float) -> Any:
    """The same where branches are free and products are not."""

    def clipped() -> list[Tensor]:
        factor = _clip_factor(gradients, global_clipnorm)
        return [gradient * ops.cast(factor, gradient.dtype) for gradient in gradients]

    return ops.cond(first, clipped, lambda: list(gradients))


def _clip_factor(gradients: Sequence[Tensor], global_clipnorm: float) -> Tensor:
    squares = [
        ops.cast(_backend.active().optimizer.squared_norm(gradient), "float32")
        for gradient in gradients
    ]
    length = ops.sqrt(ops.sum(ops.stack(squares)))
    return global_clipnorm / ops.maximum(length, global_clipnorm)


def momentum_step(
    optimizer: Any,  # noqa: ARG001
    variable: Any,  # noqa: ARG001
    velocity: Any,  # noqa: ARG001
    rate: Tensor,  # noqa: ARG001
    update: Tensor,  # noqa: ARG001
) -> bool:
    """Makes one variable's step with a scalar rate and returns True, or returns False.

    Where steps are fused by the compiler, there is nothing to gain.
    """
    return False


def update_together(
    optimizer: Any,  # noqa: ARG001
    gradients: Sequence[Tensor],  # noqa: ARG001
    variables: Sequence[Any],  # noqa: ARG001
    learning_rate: Tensor,  # noqa: ARG001
) -> bool:
    """Makes the whole update and returns True, or returns False: one variable at a time will do.

    Where everything is compiled together, there is nothing to gain.
    """
    return False
