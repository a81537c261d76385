"""The gradient noise scale in the course of training."""

# ruff: noqa: ARG002 (Keras calls the hooks with arguments that not all of them need)

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_bigbatch._arguments import at_least_two, one_of, positive_number
from keras_bigbatch._measuring import cadence
from keras_bigbatch._measuring.axes import axes_or_new
from keras_bigbatch._measuring.dataset_loss import MODES, DatasetLoss, loss_before_training
from keras_bigbatch._measuring.noise_scale import (
    checked_batches,
    mean_and_covariance,
    ratio_and_interval,
    two_batch_estimates,
)
from keras_bigbatch._measuring.progress import checked_verbose
from keras_bigbatch._measuring.sampled_batches import SampledBatches
from keras_bigbatch._typing import Array, Frequency, Mode, Verbose
from keras_bigbatch._updates import steps_an_update, updates_made
from keras_bigbatch.callbacks._noise_message import at_the_end, once_sure, say
from keras_bigbatch.diagnostics import NoiseScale

# The message comes as soon as the interval's ends are within this factor of each other.
_CLOSE = 2.0

_COLUMNS = ("update", "noise_scale", "low", "high", "trace", "gradient_norm_squared")


class GradientNoiseScale(keras.callbacks.Callback):
    """Measures the gradient noise scale during training, to show which batch is large enough.

    Use it in a run with a small or medium batch to find out how large a batch would have paid off:
    batches well above the noise scale gain little. The noise scale usually grows as the loss falls,
    so a batch that is too large in the first epochs may pay off later.
    `diagnostics.gradient_noise_scale` describes the formula and the estimate. Here, the numerator
    and the denominator are averaged over the measurements with exponential weights, and then
    divided. The average lags by about `1 / (1 - smoothing)` measurements, which the interval
    ignores.

    It measures at the end of each epoch and after the updates that `frequency` selects, and adds
    `gradient_noise_scale` (in samples, NaN while unknown) to `logs`. Training is unchanged. A
    measurement costs the gradients of `draws * large_batch` samples, 20 480 by default.

    Args:
        x: As in `fit`, all or part of it. A data set continues where the last measurement stopped.
        y: As in `fit`, if `x` is arrays.
        small_batch: Samples in a small batch. The device holds one at a time.
        large_batch: A multiple of `small_batch`, in samples, ideally near the noise scale or above.
        frequency: `"log"` for about 10 measurements per decade of updates, `"epoch"` for only the
            ends of epochs, or an integer n for updates n, 2n, ....
        draws: Large batches per measurement, 2 or more. A smaller data set gives fewer.
        smoothing: Weight of the previous average against a new measurement, in [0, 1).
        sample_weight: As in `fit`, if `x` is arrays.
        mode: `"training"`: norm layers use each batch's statistics. `"inference"`: the stored ones.
        seed: Seed for drawing samples from arrays. Each `fit` starts from it again.
        verbose: 1 to print the noise scale at the end, and as soon as the ends of its interval are
            within a factor of two; 0 to print nothing. `"auto"` is 1, but 0 after
            `keras.config.disable_interactive_logging()`.

    Attributes:
        history: `{"update": [...], "noise_scale": [...], "low": [...], "high": [...]}`, the average
            with its 95 % interval. Also each measurement's `"trace"` and `"gradient_norm_squared"`.
        noise_scale: The last average, a `keras_bigbatch.diagnostics.NoiseScale`, or None.

    Raises:
        ValueError: If an argument is invalid. `fit` raises it at the beginning if the data do not
            fit the model, or later if a data set has fewer than two large batches.

    Example:

    ```python
    import keras, numpy as np, keras_bigbatch as kbb
    x, y = np.random.rand(1024, 8), np.random.rand(1024)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    noise = kbb.callbacks.GradientNoiseScale(x, y, small_batch=32, large_batch=256)
    model.fit(x, y, batch_size=64, epochs=3, verbose=0, callbacks=[noise])
    print(noise.noise_scale)
    ```

    References:
        - [McCandlish et al., 2018](https://arxiv.org/abs/1812.06162), sections 2.2 and 4.1
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        small_batch: int = 32,
        large_batch: int = 1024,
        frequency: Frequency = "epoch",
        *,
        draws: int = 20,
        smoothing: float = 0.9,
        sample_weight: Any = None,
        mode: Mode = "training",
        seed: int = 0,
        verbose: Verbose = "auto",
    ) -> None:
        super().__init__()
        small, large = checked_batches(small_batch, large_batch)
        self.frequency = cadence.checked_frequency(frequency)
        self.draws = at_least_two("draws", draws, "It counts large batches: use 20.")
        hint = "0.9 averages over about 10 measurements, 0 over none."
        self.smoothing = positive_number("smoothing", smoothing, hint, zero_allowed=True)
        if self.smoothing >= 1:
            raise ValueError(
                f"`smoothing` must be less than 1. Received: smoothing={smoothing!r}. {hint}"
            )
        self.large_batch = large
        self.mode = one_of("mode", mode, MODES)
        self.verbose = checked_verbose(verbose)
        count = self.draws * (large // small)
        self._batches = SampledBatches(x, y, sample_weight, size=small, count=count, seed=seed)
        self._small_in_large = large // small
        self._next_batch = cadence.NEVER
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        # Without what the next `fit` creates: compiled functions of the model cannot be pickled.
        return {**self.__dict__, "_model": None, "_loss": None}

    def plot(self, ax: Any = None) -> Any:
        """Plots the noise scale over the updates, with its interval, on log axes.

        Args:
            ax: Matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.
        """
        ax = axes_or_new(ax)
        updates = self.history["update"]
        (line,) = ax.plot(updates, self.history["noise_scale"], "o-", markersize=3)
        high = np.array(self.history["high"], np.float64)
        high[~np.isfinite(high)] = np.nan  # No band where it is infinite.
        ax.fill_between(updates, self.history["low"], high, color=line.get_color(), alpha=0.2)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("optimizer updates")
        ax.set_ylabel("gradient noise scale, samples")
        return ax

    def _begin(self) -> None:
        self.history: dict[str, list[Any]] = {column: [] for column in _COLUMNS}
        self.noise_scale: NoiseScale | None = None
        self._measured: list[tuple[Array, Array, int]] = []
        self._reported = False
        self._batches.restart()
        # Created in each `fit`: the model may have been compiled with another loss.
        self._loss: DatasetLoss | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()
        self._loss = loss_before_training(self.model, self._batches, self.mode)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        model = self.model
        self._await_measurement(model, 0, updates_made(model.optimizer))

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch < self._next_batch:
            return
        # Read every time: on JAX that is what gives the variables their values.
        model = self.model
        updates = updates_made(model.optimizer)
        if updates >= self._next_update:
            self._measure(model, updates)
        self._await_measurement(model, batch, updates)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        model = self.model
        updates = updates_made(model.optimizer)
        if self.history["update"][-1:] != [updates]:
            self._measure(model, updates)
        if logs is not None:
            logs["gradient_noise_scale"] = self.history["noise_scale"][-1]

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.noise_scale is not None:
            averages, update = self.history["noise_scale"], self.history["update"][-1]
            is_finite = math.isfinite(self.history["trace"][-1])
            last = _average(self._measured[-1:] if is_finite else [], self.smoothing)
            say(at_the_end(averages, self.noise_scale, last, update), self.verbose)

    def _await_measurement(self, model: keras.Model, batch: int, updates: int) -> None:
        """Sets the next update to measure at, and the batch before which it will be done."""
        self._next_update = cadence.next_measurement(self.frequency, updates)
        self._next_batch = batch + (self._next_update - updates) * steps_an_update(model.optimizer)

    def _measure(self, model: keras.Model, updates: int) -> None:
        if self._loss is None:
            self._loss = DatasetLoss(model, self._batches, self.mode)
        estimates = two_batch_estimates(self._loss, self._small_in_large)
        if len(estimates) < 2:
            raise ValueError(
                "The data set of `GradientNoiseScale` must have two large batches or more. "
                f"Received: large_batch={self.large_batch} and a data set of fewer than "
                f"{2 * self.large_batch} samples. Pass a smaller large_batch, or arrays."
            )
        mean, covariance = mean_and_covariance(estimates)
        if np.isfinite(mean).all():
            # A measurement at diverged weights would spoil all later averages.
            self._measured.append((mean, covariance, len(estimates)))
        found = _average(self._measured, self.smoothing)
        self.noise_scale = found
        low, high = found.interval
        row = (updates, found.value, low, high, *mean.tolist())
        for column, value in zip(_COLUMNS, row, strict=True):
            self.history[column].append(value)
        if not self._reported and 0 < high <= _CLOSE * low:
            self._reported = True
            say(once_sure(found, updates), self.verbose)


def _average(measured: Sequence[tuple[Array, Array, int]], smoothing: float) -> NoiseScale:
    """Returns the ratio of the averages with exponential weights."""
    if not measured:
        return NoiseScale(math.nan, math.nan, math.nan, (math.nan, math.nan), 0)
    means, covariances, draws = (np.array(column) for column in zip(*measured, strict=True))
    weights = smoothing ** np.arange(len(means))[::-1].astype(np.float64)
    weights /= weights.sum()
    # For a sum of variances with draws - 1 degrees of freedom each (Satterthwaite).
    squares = weights**2
    freedom = squares.sum() ** 2 / (squares**2 / (draws - 1)).sum()
    mean = weights @ means
    covariance = np.tensordot(squares, covariances, 1)
    value, interval = ratio_and_interval(mean, covariance, math.floor(freedom + 1e-6))
    trace, square = mean.tolist()
    return NoiseScale(value, trace, square, interval, int(draws.sum()))
