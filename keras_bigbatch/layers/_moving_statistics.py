"""How the moments of the groups update the moving mean and variance."""

import math
from typing import Literal, NamedTuple, TypeAlias

from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._backend import GhostMoments
from keras_bigbatch._typing import Tensor

Statistics: TypeAlias = Literal["sequential", "mean", "batch"]

# log(momentum) for momentum = 0: exp(0 * x) is 1, and exp(n * x) is 0 in float32 for n > 0.
_LOG_OF_ZERO = -88.0

# Up to how many rows are compared pairwise, and the size of the blocks if there are more.
_MOST_AT_ONCE, _BLOCK = 1024, 64


class _Rows(NamedTuple):
    """Parts of a batch, in order: groups, or each replica's groups combined.

    `count` [N, 1] is in groups, or in elements for `"batch"`; a part of count 0 does not exist.
    The others are [N, C], and so is the count under a mask that differs between channels.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor


def moving_update(
    moving_mean: Tensor,
    moving_variance: Tensor,
    moments: GhostMoments,
    momentum: float,
    statistics: Statistics,
) -> tuple[Tensor, Tensor]:
    """Returns the moving statistics after one training step.

    Groups that are fully masked or not finite are left out, as if they were not in the batch.
    A channel whose result is not finite in the statistics' own type does not change: the means of
    finite groups may be too far apart for a variance of the whole batch.
    With K groups left, numbered 1 to K, the new value is `(1 - sum w) * moving + sum(w * moment)`:

    - `"sequential"`: w_l = (1 - momentum) * momentum^(K - l): K steps of the moving average in
      closed form (Hoffer et al., Algorithm 1; exponents K - l and not l, limit K and not B_S).
    - `"mean"`: w_l = (1 - momentum) / K, one step with the mean over the groups.
    - `"batch"`: w_l = (1 - momentum) * n_l / n, and the spread of the groups' means is added to the
      variance: one step with the moments of the whole batch, by the law of total variance.

    Where a framework gives each replica a part of the batch, every replica combines its groups
    into one row, and all of them take the same step from all rows. It is the step of one device
    that has the replicas' parts in order.

    Args:
        moving_mean: The old moving mean, [C]; the new one has the same type.
        moving_variance: The old moving variance, likewise.
        moments: The groups' moments.
        momentum: Fraction of the old value that one step keeps.
        statistics: `"sequential"`, `"mean"` or `"batch"`.
    """
    backend = _backend.active()
    traced_once = backend.ghost_norm.traced_once
    old, options = (moving_mean, moving_variance), {"momentum": momentum, "statistics": statistics}
    if backend.replicas.replicas() == 1:
        moved = backend.ghost_norm.moved_by_kernel(old, moments, momentum, statistics)
        return moved or traced_once(_moved_by_groups, *old, moments, **options)
    row = traced_once(_one_row, moments, **options)
    gathered = backend.replicas.gather_rows(ops.concatenate(list(row), axis=1)[0])
    channels = moving_mean.shape[0]
    counts, means = gathered[:, : -2 * channels], gathered[:, -2 * channels : -channels]
    rows = _Rows(counts, means, gathered[:, -channels:])
    return traced_once(_moved_by_rows, *old, rows, **options)


def _moved_by_groups(
    moving_mean: Tensor,
    moving_variance: Tensor,
    moments: GhostMoments,
    momentum: float,
    statistics: Statistics,
) -> tuple[Tensor, Tensor]:
    """Returns the moving statistics after the step of one device."""
    rows = _valid_groups(moments, statistics)
    return _moved_by_rows(moving_mean, moving_variance, rows, momentum, statistics)


def _moved_by_rows(
    moving_mean: Tensor,
    moving_variance: Tensor,
    rows: _Rows,
    momentum: float,
    statistics: Statistics,
) -> tuple[Tensor, Tensor]:
    """Returns the moving statistics after a step from the rows."""
    total, *merged = _merged(rows, _weights(rows.count, momentum, statistics), statistics)
    old = (moving_mean, moving_variance)
    new = [
        ops.cast((1.0 - total) * ops.cast(value, moment.dtype) + total * moment, value.dtype)
        for value, moment in zip(old, merged, strict=True)
    ]
    finite = ops.logical_and(*map(ops.isfinite, new))
    mean, variance = (ops.where(finite, *pair) for pair in zip(new, old, strict=True))
    return mean, variance


def _valid_groups(moments: GhostMoments, statistics: Statistics) -> _Rows:
    """Returns the groups as rows; one that is fully masked or not finite gets count 0."""
    count, mean, variance = (ops.stop_gradient(value) for value in moments)
    # If the mean is not finite, neither is the variance.
    finite = ops.all(ops.isfinite(variance), axis=1, keepdims=True)
    valid = ops.logical_and(finite, count > 0)
    mean = ops.where(valid, mean, ops.zeros_like(mean))
    variance = ops.where(valid, variance, ops.zeros_like(variance))
    valid = ops.cast(valid, mean.dtype)
    return _Rows(valid * count if statistics == "batch" else valid, mean, variance)


def _weights(count: Tensor, momentum: float, statistics: Statistics) -> Tensor:
    """Returns the rows' weights, shaped like `count`; the old value loses their sum."""
    if statistics != "sequential":
        return (1.0 - momentum) * count / ops.maximum(_total(count), 1.0)
    # exp(n * log(momentum)) and not momentum ** n: in float32, log(0.99) is relatively a hundred
    # times more accurate than 1 - 0.99, so 512 groups still give weights good to 1e-7.
    log_momentum = math.log(momentum) if momentum > 0 else _LOG_OF_ZERO
    return -ops.expm1(count * log_momentum) * ops.exp(_groups_after(count) * log_momentum)


def _merged(rows: _Rows, weight: Tensor, statistics: Statistics) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the sum of the weights, [1] or [C], and the weighted mean and variance, [C].

    For `"batch"` the variance is about the mean of all rows.
    """
    total = ops.sum(weight, axis=0)
    share = weight / ops.where(total > 0, total, ops.ones_like(total))
    mean = ops.sum(share * rows.mean, axis=0)
    variance = ops.sum(share * rows.variance, axis=0)
    if statistics == "batch":
        apart = rows.mean - mean
        # In this order it overflows only if the variance of the batch does: the square of a few
        # outliers may be too large for float32, and their share of it not.
        variance = variance + ops.sum(share * apart * apart, axis=0)
    return total, mean, variance


def _one_row(moments: GhostMoments, momentum: float, statistics: Statistics) -> _Rows:
    """Returns one row that has the effect of all groups."""
    rows = _valid_groups(moments, statistics)
    _, mean, variance = _merged(rows, _weights(rows.count, momentum, statistics), statistics)
    return _Rows(_total(rows.count), ops.expand_dims(mean, 0), ops.expand_dims(variance, 0))


def _total(rows: Tensor) -> Tensor:
    """Returns the sum over all rows, as a row."""
    return ops.sum(rows, axis=0, keepdims=True)


def _groups_after(count: Tensor) -> Tensor:
    """Returns the number of groups after each row, shaped like `count`."""
    rows, channels = ops.shape(count)
    if isinstance(rows, int) and rows <= _MOST_AT_ONCE:
        return _sums_after(count)
    # In blocks, so that each row is compared only with those of its block.
    padded = ops.pad(count, ((0, -rows % _BLOCK), (0, 0)))
    blocks = ops.reshape(padded, (-1, _BLOCK, channels))
    after = _sums_after(blocks) + ops.expand_dims(_sums_after(ops.sum(blocks, axis=1)), 1)
    return ops.reshape(after, (-1, channels))[:rows]


def _sums_after(values: Tensor) -> Tensor:
    """Returns the sum of all later rows for each row and channel: [..., N, C] to the same."""
    # Not a cumulative sum, which XLA unrolls to log2(N) stages, nor a matrix product, which a TPU
    # would round; N**2 numbers are few beside the batch.
    replicas = _backend.active().replicas
    index = replicas.on_all_devices(ops.arange(ops.shape(values)[-2], dtype="int32"))
    follows = ops.expand_dims(index, 1) > ops.expand_dims(index, 0)
    each = ops.expand_dims(values, -2)
    after = ops.sum(ops.where(ops.expand_dims(follows, 2), each, ops.zeros_like(each)), axis=-3)
    return replicas.on_all_devices(after)
