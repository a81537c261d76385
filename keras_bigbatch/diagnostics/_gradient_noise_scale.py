"""How large a batch may be before more samples in it bring little."""

import math
import warnings
from typing import Any

import keras

from keras_bigbatch._arguments import two_or_more
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.noise_scale import (
    checked_batches,
    mean_and_covariance,
    ratio_and_interval,
    two_batch_estimates,
)
from keras_bigbatch._measuring.sampled_batches import SampledBatches
from keras_bigbatch._typing import Mode
from keras_bigbatch.diagnostics._noise_scale import NoiseScale


def gradient_noise_scale(
    model: Any,
    x: Any,
    y: Any = None,
    small_batch: int = 32,
    large_batch: int = 1024,
    *,
    draws: int = 20,
    sample_weight: Any = None,
    mode: Mode = "inference",
    seed: int = 0,
    verbose: int = 0,
) -> NoiseScale:
    """Estimates the gradient noise scale at the model's present weights, in samples.

    Use it to see which batch sizes are worth their samples. It is the simple noise scale

        B_noise = trace(covariance of a sample's gradient) / norm(mean gradient) ** 2

    the batch whose gradient has as much noise as signal. Batches well below it average out noise:
    twice the batch, nearly half the updates. At it an update makes half of the progress that it
    would make with the gradient of all data, and batches well beyond it bring little. It grows in
    training, often a hundredfold, so measure at several points, or use the callback of the same
    name. It says nothing of how well the result generalizes.

    Each draw is a large batch of `large_batch` samples, taken as small ones of `small_batch`, whose
    mean gradient is the large one's. With the mean of the small ones' squared norms, that gives
    unbiased estimates of the numerator and of the denominator (the two-batch estimator). Each is
    averaged over the draws, and only then divided, since the mean of ratios is not the ratio of
    means. The interval is Fieller's, from the spread between the draws: it is the one that stays
    right when the denominator is small. Where its bounds reach zero, as they do at the end of most
    trainings, there is no telling the noise scale: it is NaN then, with a warning and with a lower
    bound. A `large_batch` near the noise scale or above tells the most for its samples; a smaller
    `small_batch` adds little.

    From arrays samples are drawn at random, with replacement, and the result is that of these data.
    A data set is read once in its own order, which must be a random one; its draws are as many as
    it has large batches, up to `draws`.

    With `mode="training"`, batch norm takes the statistics of each small batch, so the value is
    that of ghost batches of this size. Random layers draw the same numbers for each, and add no
    noise. Regularizers and `add_loss` are part of the gradient, as in training; sample weights are
    part of a sample's gradient. The model is not changed, also after an error or an interrupt.
    Adaptive optimizers and momentum see other noise than the gradient's, which is all that this
    is about.

    The cost is the gradients of `draws * large_batch` samples, with one vector of the size of the
    weights to the host for each small batch, which holds three of them.

    Differs from implementations inside a training step (gpt-neox), which compare one of the
    micro-batches with the whole: here all small batches of a draw count.

    Args:
        model: A compiled `keras.Model`, Functional, Sequential or subclassed, that has weights.
        x: As in `fit`: arrays, lists or dictionaries of them, a `tf.data.Dataset`, a torch
            `DataLoader` or a `PyDataset`. The batches of a data set are cut anew.
        y: As in `fit`, with arrays.
        small_batch: Samples in a small batch. The device holds one at a time.
        large_batch: Samples in a large batch, a multiple of `small_batch`.
        draws: Large batches, 2 or more.
        sample_weight: As in `fit`, with arrays.
        mode: `"inference"`: norm layers take their stored statistics, as in `evaluate`.
            `"training"`: they take those of each small batch.
        seed: Seed of the draws from arrays.
        verbose: 1 for a progress bar, a step a small batch.

    Returns:
        A `NoiseScale` with `.value`, `.trace`, `.gradient_norm_squared` and `.interval`.

    Raises:
        ValueError: If an argument is not as above, the model is not compiled or has no weights, or
            a data set has less than two large batches.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    x = np.random.default_rng(0).normal(size=(2048, 8))
    y = x.sum(1) + np.random.default_rng(1).normal(size=2048)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    print(kbb.diagnostics.gradient_noise_scale(model, x, y, 32, 256))
    ```

    References:
        - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), section 2.2 and appendix A.1
        - [Fieller, 1954](https://doi.org/10.1111/j.2517-6161.1954.tb00159.x) (the interval)
    """
    small, large = checked_batches(small_batch, large_batch)
    draws = two_or_more("draws", draws, "It is the number of large batches.", 20)
    count = draws * (large // small)
    batches = SampledBatches(x, y, sample_weight, size=small, count=count, seed=seed)
    loss = DatasetLoss(model, batches, mode)
    bar = keras.utils.Progbar(count, verbose=verbose, unit_name="batch")
    estimates = two_batch_estimates(loss, large // small, lambda: bar.add(1))
    if len(estimates) < 2:
        raise ValueError(
            "The data set must have two large batches or more. Received: "
            f"large_batch={large} and a data set of less than {2 * large} samples. Pass a smaller "
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
