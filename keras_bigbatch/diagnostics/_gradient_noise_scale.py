"""How large a batch may be before more samples in it bring little."""

import math
import warnings
from typing import Any

import keras

from keras_bigbatch._arguments import at_least_two
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.noise_scale import (
    checked_batches,
    mean_and_covariance,
    ratio_and_interval,
    two_batch_estimates,
)
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._measuring.sampled_batches import SampledBatches
from keras_bigbatch._typing import Mode, Verbose
from keras_bigbatch.diagnostics._noise_scale import NoiseScale


def gradient_noise_scale(
    model: keras.Model,
    x: Any,
    y: Any = None,
    small_batch: int = 32,
    large_batch: int = 1024,
    *,
    draws: int = 20,
    sample_weight: Any = None,
    mode: Mode = "training",
    seed: int = 0,
    verbose: Verbose = "auto",
) -> NoiseScale:
    """Estimates the gradient noise scale at the model's current weights, in samples.

    Use it to see up to which size a larger batch pays off. It estimates the simple noise scale

        B_noise = trace(covariance of a sample's gradient) / norm(mean gradient) ** 2

    This is the batch size at which the gradient has as much noise as signal. Well below it,
    doubling the batch nearly halves the updates. Well above it, a larger batch gains little. The
    noise scale grows during training, often a hundredfold, and says nothing about how well the
    result generalizes. An optimizer with momentum or adaptive rates sees different noise.

    Each draw is a large batch, processed as several small ones. The squared norms of the gradients
    of the large batch and of the small ones give unbiased estimates of the numerator and the
    denominator, which are averaged over the draws before the division. It costs the gradients of
    `draws * large_batch` samples, 20 480 by default. The interval is Fieller's, which stays valid
    if the denominator is small. If the denominator may be zero, the value is NaN, with a warning
    and a lower bound. The model is not changed.

    Args:
        model: A compiled `keras.Model` that has weights.
        x: As in `fit`. Samples are drawn from arrays with replacement. A data set is read once, in
            order, and that order must be random.
        y: As in `fit`, if `x` is arrays.
        small_batch: Samples in a small batch. The device holds one at a time.
        large_batch: A multiple of `small_batch`, in samples, ideally near the noise scale or above.
        draws: Number of large batches, 2 or more. A smaller data set gives fewer.
        sample_weight: As in `fit`, if `x` is arrays. The weights are part of each sample's
            gradient.
        mode: `"training"`: norm layers use the statistics of each small batch, so the result is the
            noise scale with ghost batches of this size. `"inference"`: the stored statistics.
        seed: Seed for drawing samples from arrays.
        verbose: 1 for a progress bar over small batches, 0 for none. `"auto"`: in a terminal or
            notebook.

    Returns:
        A `NoiseScale` with `.value`, `.trace`, `.gradient_norm_squared` and `.interval`.

    Raises:
        ValueError: If an argument is invalid, the model is not compiled or has no weights, or a
            data set has fewer than two large batches.

    Example:

    ```python
    import keras, numpy as np, keras_bigbatch as kbb
    x = np.random.default_rng(0).normal(size=(2048, 8))
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    print(kbb.diagnostics.gradient_noise_scale(model, x, x.sum(1) + x.prod(1), 32, 256))
    ```

    References:
        - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), section 2.2 and appendix A.1
        - [Fieller, 1954](https://doi.org/10.1111/j.2517-6161.1954.tb00159.x) (the interval)
    """
    small, large = checked_batches(small_batch, large_batch)
    draws = at_least_two("draws", draws, "It is the number of large batches: use 20.")
    count = draws * (large // small)
    batches = SampledBatches(x, y, sample_weight, size=small, count=count, seed=seed)
    loss = DatasetLoss(model, batches, mode)
    with Progress(count, verbose, "batch") as progress:
        estimates = two_batch_estimates(loss, large // small, progress.add)
    if len(estimates) < 2:
        raise ValueError(
            "The data set must have two large batches or more. Received: "
            f"large_batch={large} and a data set of fewer than {2 * large} samples. Pass a smaller "
            "large_batch, or arrays, from which samples are drawn with replacement."
        )
    mean, covariance = mean_and_covariance(estimates)
    value, interval = ratio_and_interval(mean, covariance, len(estimates) - 1)
    trace, square = mean.tolist()
    found = NoiseScale(value, trace, square, interval, len(estimates))
    if math.isnan(value):
        warnings.warn(_why_unknown(found, large), stacklevel=2)
    return found


def _why_unknown(found: NoiseScale, large: int) -> str:
    square, (low, _) = found.gradient_norm_squared, found.interval
    if math.isnan(low):
        return "The noise scale is NaN: gradients are not finite. The weights may have diverged."
    return (
        f"The noise scale is NaN: with {found.draws} draws of {large} samples the squared norm of "
        f"the mean gradient, {square:.3g}, cannot be told from zero. The noise scale is "
        f"{low:.3g} or more. Use a larger large_batch or more draws; near a minimum nearly all of "
        "the gradient is noise, and neither may help."
    )
