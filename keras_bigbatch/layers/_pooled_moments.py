"""Mean and variance over many batches, exact however the data are split."""

import numpy as np

from keras_bigbatch._typing import Array


class PooledMoments:
    """The moments of all added elements, in float64.

    By the parallel algorithm (Chan, Golub & LeVeque, 1983): n elements with mean m and sum of
    squared deviations s, combined with others with n', m' and s', have

    `m + (m' - m) * n' / (n + n')` and `s + s' + (m' - m)**2 * n * n' / (n + n')`
    """

    def __init__(self, channels: int) -> None:
        self.count: Array = np.zeros(channels)
        self.mean: Array = np.zeros(channels)
        self._squares: Array = np.zeros(channels)

    def add(self, count: Array, mean: Array, variance: Array) -> None:
        """Adds `count` elements with these moments; each argument has a value per channel."""
        total = self.count + count
        share = count / np.maximum(total, 1.0)
        apart = mean - self.mean
        self.mean = self.mean + share * apart
        # A variance that rounding has made negative counts as 0.
        self._squares += count * np.maximum(variance, 0.0) + share * self.count * apart**2
        self.count = total

    @property
    def variance(self) -> Array:
        """The biased variance, which batch norm uses."""
        return self._squares / np.maximum(self.count, 1.0)
