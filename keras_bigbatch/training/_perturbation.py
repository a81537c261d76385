"""The point near the weights at which sharpness-aware training takes its gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._typing import Tensor

_TINY = 1e-12  # A gradient of 0 has no direction.


@dataclass(frozen=True)
class Perturbation:
    """How far from the weights, and by which norm.

    Args:
        radius: The norm of the step.
        adaptive: Whether each weight's step is relative to the weight.
        virtual_batch: Samples that share a step, None for the whole batch.
    """

    radius: float
    adaptive: bool
    virtual_batch: int | None

    def of(
        self, weights: Sequence[Tensor], gradient: Sequence[Tensor], scale: Tensor
    ) -> tuple[list[Tensor], Tensor]:
        """The weights after the step, and whether the gradient is finite.

        Args:
            weights: A tensor for each variable.
            gradient: Likewise, of the loss times `scale`.
            scale: A scalar.
        """
        # In float32 or wider: squares of half precision overflow, and steps are lost in it.
        wide = [keras.backend.result_type(each.dtype, "float32") for each in weights]
        points = [ops.cast(each, kind) for each, kind in zip(weights, wide, strict=True)]
        steps = [
            ops.divide(ops.cast(each, kind), ops.cast(scale, kind))
            for each, kind in zip(gradient, wide, strict=True)
        ]
        if self.adaptive:
            steps = [ops.abs(p) * step for p, step in zip(points, steps, strict=True)]
        squares = map(_backend.active().optimizer.squared_norm, steps)
        norm = ops.sqrt(reduce(ops.add, squares))
        factor = self.radius / ops.maximum(norm, _TINY)
        if self.adaptive:
            steps = [ops.abs(p) * step for p, step in zip(points, steps, strict=True)]
        there = [
            ops.cast(point + ops.cast(factor, kind) * step, weight.dtype)
            for weight, point, step, kind in zip(weights, points, steps, wide, strict=True)
        ]
        return there, ops.isfinite(norm)
