"""How the moments of the groups move the moving mean and variance."""

import math
from typing import Literal, NamedTuple, TypeAlias

from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._backend import GhostMoments
from keras_bigbatch._typing import Tensor

Statistics: TypeAlias = Literal["sequential", "mean", "batch"]

# log(momentum) of momentum = 0: exp(0 * x) is 1 and exp(n * x) is 0 to float32 for n > 0.
_LOG_OF_ZERO = -88.0


class _Rows(NamedTuple):
    """Parts of a batch, in order: groups, or what replicas made of theirs.

    `count` [N, 1] is in groups, for `"batch"` in elements; a part of count 0 does not exist. The
    others are [N, C], as the count is under a mask that tells channels apart.
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
    """The moving statistics after one training step.

    Groups that are masked throughout or not finite are left out, as if the batch had not held them.
    With K groups left, numbered 1 to K, the new value is `(1 - sum w) * moving + sum(w * moment)`:

    - `"sequential"`: w_l = (1 - momentum) * momentum^(K - l): K steps of the moving average in
      closed form (Hoffer et al., Algorithm 1; exponents K - l and not l, limit K and not B_S).
    - `"mean"`: w_l = (1 - momentum) / K, one step with the mean over the groups.
    - `"batch"`: w_l = (1 - momentum) * n_l / n, and the spread of the groups' means is added to the
      variance: one step with the moments of the whole batch, by the law of total variance.

    Where a framework gives each replica a part of the batch, every replica sums its groups up in
    one row, and all of them make the same step from the rows of all: the step of one device that
    has the replicas' parts one after the other.

    Args:
        moving_mean: The old moving mean, [C].
        moving_variance: The old moving variance, [C].
        moments: The groups' moments.
        momentum: Share of the old value that one step keeps.
        statistics: `"sequential"`, `"mean"` or `"batch"`.
    """
    rows = _valid_groups(moments, statistics)
    replicas = _backend.active().replicas
    if replicas.replicas() > 1:
        packed = ops.concatenate(list(_pooled(rows, momentum, statistics)), axis=1)[0]
        gathered = replicas.gather_rows(packed)
        channels = moving_mean.shape[0]
        counts, means = gathered[:, : -2 * channels], gathered[:, -2 * channels : -channels]
        rows = _Rows(counts, means, gathered[:, -channels:])
    weight = _weights(rows.count, momentum, statistics)
    variance = _total_variance(rows, statistics)
    kept = 1.0 - ops.sum(weight, axis=0)
    return (
        kept * moving_mean + ops.sum(weight * rows.mean, axis=0),
        kept * moving_variance + ops.sum(weight * variance, axis=0),
    )


def _valid_groups(moments: GhostMoments, statistics: Statistics) -> _Rows:
    """The groups as rows; one that is masked throughout or not finite gets count 0."""
    count, mean, variance = (ops.stop_gradient(value) for value in moments)
    # About a mean that is not finite, the variance is not finite either.
    finite = ops.all(ops.isfinite(variance), axis=1, keepdims=True)
    valid = ops.logical_and(finite, count > 0)
    mean = ops.where(valid, mean, ops.zeros_like(mean))
    variance = ops.where(valid, variance, ops.zeros_like(variance))
    valid = ops.cast(valid, mean.dtype)
    return _Rows(valid * count if statistics == "batch" else valid, mean, variance)


def _weights(count: Tensor, momentum: float, statistics: Statistics) -> Tensor:
    """The weights of the rows in the step, like `count`; their sum is what the old value loses."""
    if statistics != "sequential":
        return (1.0 - momentum) * count / ops.maximum(_total(count), 1.0)
    # exp(n * log(momentum)) and not momentum ** n: log(0.99) in float32 is a hundred times
    # closer, relatively, than 1 - 0.99, so 512 groups still give weights good to 1e-7.
    log_momentum = math.log(momentum) if momentum > 0 else _LOG_OF_ZERO
    return -ops.expm1(count * log_momentum) * ops.exp(_groups_after(count) * log_momentum)


def _total_variance(rows: _Rows, statistics: Statistics) -> Tensor:
    """The variances, for `"batch"` about the mean of all rows, [N, C]."""
    if statistics != "batch":
        return rows.variance
    share = rows.count / ops.maximum(_total(rows.count), 1.0)
    return rows.variance + ops.square(rows.mean - ops.sum(share * rows.mean, axis=0, keepdims=True))


def _pooled(rows: _Rows, momentum: float, statistics: Statistics) -> _Rows:
    """One row that has the effect of all of them."""
    weight = _weights(rows.count, momentum, statistics)
    total = _total(weight)
    share = weight / ops.where(total > 0, total, ops.ones_like(total))
    return _Rows(
        _total(rows.count),
        ops.sum(share * rows.mean, axis=0, keepdims=True),
        ops.sum(share * _total_variance(rows, statistics), axis=0, keepdims=True),
    )


def _total(rows: Tensor) -> Tensor:
    """The sum over all rows, as a row."""
    return ops.sum(rows, axis=0, keepdims=True)


def _groups_after(count: Tensor) -> Tensor:
    """How many groups come after each row, like `count`."""
    # Not a cumulative sum, which XLA unrolls to log2(N) stages, nor a matrix product, which a TPU
    # would round; N**2 numbers are nothing beside the batch.
    replicas = _backend.active().replicas
    index = replicas.on_all_devices(ops.arange(ops.shape(count)[0], dtype="int32"))
    follows = ops.expand_dims(index, 1) > ops.expand_dims(index, 0)
    each = ops.expand_dims(count, 1)
    after = ops.sum(ops.where(ops.expand_dims(follows, 2), each, ops.zeros_like(each)), axis=0)
    return replicas.on_all_devices(after)
