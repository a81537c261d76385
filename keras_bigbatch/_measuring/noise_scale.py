"""An estimate of the gradient noise scale from batches of two sizes."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._numerics.student_t import student_t
from keras_bigbatch._typing import Array, Vector


def two_batch_estimates(
    loss: DatasetLoss, batches: int, on_batch: Callable[[], None] | None = None
) -> Array:
    """Estimates the trace and the squared norm, with one row per large batch.

    A large batch is `batches` consecutive small ones, and its gradient is their mean. An incomplete
    large batch is left out.

    Args:
        loss: The loss, with batches of equal size.
        batches: Small batches in a large one, 2 or more.
        on_batch: Called after each small batch.
    """
    rows = []
    total, squares, count = np.zeros(loss.size, loss.dtype), 0.0, 0
    for samples, _, gradient in loss.batch_gradients():
        # At diverged weights there is no noise scale, and no need for a warning per batch.
        with np.errstate(over="ignore", invalid="ignore"):
            total += gradient
        squares += _squared_norm(gradient)
        count += 1
        if on_batch is not None:
            on_batch()
        if count < batches:
            continue
        small, large = squares / batches, _squared_norm(total) / batches**2
        # McCandlish et al., equations A.2 and A.3, times the number of small batches.
        square = (batches * large - small) / (batches - 1)
        trace = samples * batches * (small - large) / (batches - 1)
        rows.append((trace, square))
        total[:], squares, count = 0, 0.0, 0
    return np.array(rows, np.float64).reshape(-1, 2)


def mean_and_covariance(estimates: Array) -> tuple[Array, Array]:
    """Returns the mean over the rows of `two_batch_estimates`, and its covariance."""
    with np.errstate(invalid="ignore"):
        covariance = np.cov(estimates, rowvar=False) / len(estimates)
        return estimates.mean(axis=0), covariance


def ratio_and_interval(
    mean: Array, covariance: Array, freedom: int
) -> tuple[float, tuple[float, float]]:
    """Returns the ratio of two means and Fieller's 95 % interval; NaN where it cannot be told.

    The interval contains every ratio r for which `mean_trace - r * mean_square` is within Student's
    bounds of zero. It is exact for normal means, and infinite where the denominator itself is
    within the bounds of zero. No ratio should be given there; the delta method and the bootstrap
    would give one.

    Args:
        mean: The means of the estimates of the trace and the squared norm.
        covariance: The covariance of these means.
        freedom: Degrees of freedom of the covariance.
    """
    trace, square = (float(each) for each in mean)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        return math.nan, (math.nan, math.nan)
    bound = student_t(freedom) ** 2
    (of_trace, of_both), (_, of_square) = (bound * covariance).tolist()
    # The ends solve a r^2 - 2 b r + c = 0.
    a, b, c = square**2 - of_square, trace * square - of_both, trace**2 - of_trace
    if square > 0 and a > 0:
        root = math.sqrt(max(b**2 - a * c, 0.0))
        interval = (max((b - root) / a, 0.0), (b + root) / a)
        return trace / square, interval
    # The least trace over the largest squared norm, both within their bounds.
    largest = max(square, 0.0) + math.sqrt(of_square)
    low = max(trace - math.sqrt(of_trace), 0.0) / largest if largest else 0.0
    return math.nan, (low, math.inf)


def checked_batches(small_batch: Any, large_batch: Any) -> tuple[int, int]:
    """Returns the two sizes, or raises a `ValueError`."""
    small = positive_integer("small_batch", small_batch, "It counts samples.")
    large = positive_integer("large_batch", large_batch, "It counts samples.")
    if large % small or large == small:
        raise ValueError(
            "`large_batch` must be a multiple of `small_batch`, at least twice as large, as it "
            f"consists of small ones. Received: small_batch={small}, large_batch={large}. For "
            f"example large_batch={max(large // small, 2) * small}."
        )
    return small, large


def _squared_norm(vector: Vector) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.sum(np.square(vector), dtype=np.float64))
