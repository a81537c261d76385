"""Mean and variance over many batches, exact however they are cut."""

import numpy as np

from keras_bigbatch._typing import Array


class PooledMoments:
    """The moments of all elements that were added, in float64.

    By the parallel algorithm (Chan, Golub & LeVeque, 1983): n elements of mean m and sum of
    squared deviations s, and n', m' and s' of others, have together

    `m + (m' - m) * n' / (n + n')` and `s + s' + (m' - m)**2 * n * n' / (n + n')`
    """

    def __init__(self, channels: int) -> None:
        self.count: Array = np.zeros(channels)
        self.mean: Array = np.zeros(channels)
        self._squares: Array = np.zeros(channels)

    def add(self, count: Array, mean: Array, variance: Array) -> None:
        """Adds `count` elements of these moments, a number for each channel."""
        total = self.count + count
        share = count / np.maximum(total, 1.0)
        apart = mean - self.mean
        self.mean = self.mean + share * apart
        # A variance that rounding has made negative is 0.
        self._squares += count * np.maximum(variance, 0.0) + share * self.count * apart**2
        self.count = total

    @property
    def variance(self) -> Array:
        """The biased variance, which batch norm takes."""
        return self._squares / np.maximum(self.count, 1.0)
