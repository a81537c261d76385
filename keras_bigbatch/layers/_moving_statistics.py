"""How the moments of the groups move the moving mean and variance."""

import math

from keras import ops

from keras_bigbatch._backend.ghost_norm import GhostMoments
from keras_bigbatch._typing import Tensor

# log(momentum) of momentum = 0: exp(0 * x) is 1 and exp(n * x) is 0 to float32 for n > 0.
_LOG_OF_ZERO = -88.0


def moving_update(
    moving_mean: Tensor,
    moving_variance: Tensor,
    moments: GhostMoments,
    momentum: float,
    statistics: str,
) -> tuple[Tensor, Tensor]:
    """The moving statistics after one training step.

    Groups that are masked throughout or not finite are left out, as if the batch had not held them.
    With K groups left, numbered 1 to K, the new value is `(1 - sum w) * moving + sum(w * moment)`:

    - `"sequential"`: w_l = (1 - momentum) * momentum^(K - l): K steps of the moving average in
      closed form (Hoffer et al., Algorithm 1; exponents K - l and not l, limit K and not B_S).
    - `"mean"`: w_l = (1 - momentum) / K, one step with the mean over the groups.
    - `"batch"`: w_l = (1 - momentum) * n_l / n, and the spread of the groups' means is added to the
      variance: one step with the moments of the whole batch, by the law of total variance.

    Args:
        moving_mean: The old moving mean, [C].
        moving_variance: The old moving variance, [C].
        moments: The groups' moments.
        momentum: Share of the old value that one step keeps.
        statistics: `"sequential"`, `"mean"` or `"batch"`.
    """
    count, mean, variance = (ops.stop_gradient(value) for value in moments)
    finite = ops.logical_and(ops.isfinite(mean), ops.isfinite(variance))
    valid = ops.logical_and(ops.all(finite, axis=1, keepdims=True), count > 0)
    mean = ops.where(valid, mean, ops.zeros_like(mean))
    variance = ops.where(valid, variance, ops.zeros_like(variance))
    valid = ops.cast(valid, mean.dtype)

    if statistics == "sequential":
        # exp(n * log(momentum)) and not momentum ** n: log(0.99) in float32 is a hundred times
        # closer, relatively, than 1 - 0.99, so 512 groups still give weights good to 1e-7.
        log_momentum = math.log(momentum) if momentum > 0 else _LOG_OF_ZERO
        weight = valid * ops.exp(_later(valid) * log_momentum)
    else:
        share = valid * count if statistics == "batch" else valid
        weight = share / ops.maximum(ops.sum(share), 1.0)
        if statistics == "batch":
            variance = variance + ops.square(mean - ops.sum(weight * mean, axis=0, keepdims=True))
    weight = (1.0 - momentum) * weight
    kept = 1.0 - ops.sum(weight)
    return (
        kept * moving_mean + ops.sum(weight * mean, axis=0),
        kept * moving_variance + ops.sum(weight * variance, axis=0),
    )


def _later(valid: Tensor) -> Tensor:
    """How many valid groups follow each group, [G, 1]."""
    # A matrix product: XLA unrolls a cumulative sum to log2(G) stages, and G**2 products are
    # nothing beside the batch.
    index = ops.arange(ops.shape(valid)[0], dtype="int32")
    follows = ops.expand_dims(index, 0) > ops.expand_dims(index, 1)
    return ops.matmul(ops.cast(follows, valid.dtype), valid)
