"""Ghost batch norm in `keras.ops`: the reference for every backend, and JAX's own form.

Shapes: B samples, C channels, G groups. Everything of full size is touched by row sums and one
multiply-add only, a 32nd of it twice; whatever depends on the groups is [B, C] or [G, C]. Nothing
loops over the groups, so the traced program is the same for 4 groups and for 512.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any

import keras
from keras import ops

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.reference.ghost_groups import GhostGroups
from keras_bigbatch._typing import Tensor


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
    grouping: type[GhostGroups] = GhostGroups,
) -> tuple[Tensor, GhostMoments]:
    """By `grouping`, which is how the groups are summed and reached."""
    groups = grouping(x, virtual_batch, axis)
    # Half precision overflows in the squares.
    precision = keras.backend.result_type(x.dtype, "float32")
    given = groups.split(x)
    parts = [ops.cast(part, precision) for part in given]
    split_mask = None if mask is None else groups.split(mask)
    moments, centre, shift = ghost_moments(parts, groups, split_mask, given)
    # One multiply-add of the differences from the centre. Folded into the offset, the centre would
    # leave a rounding of its own size.
    scale = inverse_deviation(moments.variance, epsilon)
    if gamma is not None:
        scale = scale * gamma
    offset = -shift * scale
    if beta is not None:
        # A variance is not negative. But XLA does not know that, and so does not make one sum of
        # beta's gradient, a sum of sums, for which it would read the upstream gradient once more.
        offset = offset + ops.where(moments.variance < 0, 0.0, beta)
    spread = zip(parts, groups.spread(centre, scale, offset), strict=True)
    return groups.join(
        [(part - c) * scale + offset for part, (c, scale, offset) in spread]
    ), moments


def python_is_compiled() -> bool:
    """False: what is traced is run, once."""
    return False


def moved_by_kernel(*_: Any) -> None:
    """None: there is no kernel."""


def traced_once(function: Callable[..., Any], *tensors: Any, **options: Hashable) -> Any:
    """The call itself."""
    return function(*tensors, **options)


def ghost_moments(
    parts: list[Tensor],
    groups: GhostGroups,
    mask: list[Tensor] | None = None,
    given: list[Tensor] | None = None,
) -> tuple[GhostMoments, Tensor, Tensor]:
    """Mean and biased variance of each group over its samples and positions.

    Args:
        parts: Input in the precision of the statistics, split by `groups`.
        groups: How the samples are grouped.
        mask: Boolean, split too; False leaves a position out. A group that is masked throughout
            has count, mean and variance 0.
        given: The parts in the input's own precision, if they have another. XLA would write out all
            of them in the statistics' precision for a slice of them.

    Returns:
        The moments; a value near each mean, held constant, which for a group that is constant is
        the mean exactly; and the mean less that value.
    """
    dtype = keras.backend.standardize_dtype(parts[0].dtype)
    constant = [ops.stop_gradient(part) for part in given or parts]
    if mask is None:
        count = groups.sizes(dtype)
        centre = groups.centre(constant, dtype)
    else:
        count = groups.sum([ops.cast(m, dtype) for m in mask])
        centre = groups.centre_where(mask, constant, dtype)
    divisor = ops.maximum(count, 1.0)
    centres = [c for (c,) in groups.spread(centre)]
    if mask is not None:
        parts = [ops.where(m, x, c) for m, x, c in zip(mask, parts, centres, strict=True)]
    # The variance about any constant c is E[(x - c)^2] - (mean - c)^2. Near the mean little is lost
    # by that, and derivatives of every order are right, as Hessian products need.
    shift = groups.sum_of(ops.subtract, parts, centres) / divisor
    squares = groups.sum_of(groups.squared_difference, parts, centres)
    variance = squares / divisor - ops.square(shift)
    return GhostMoments(count, centre + shift, variance), centre, shift


def inverse_deviation(variance: Tensor, epsilon: float) -> Tensor:
    """`1 / sqrt(variance + epsilon)`, NaN for a variance that is not finite.

    Of an infinite one it would be 0, and the output beta, as if nothing had happened.
    """
    return ops.where(ops.isfinite(variance), ops.rsqrt(variance + epsilon), math.nan)
