"""A random subspace of a model's weights whose basis need not fit in memory."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_bigbatch._typing import Array, Vector

# The basis is kept up to this size. The rest is drawn again at each use.
KEPT_BYTES = 2**28
# Size of a block of rows, counted in float64.
BLOCK_BYTES = 2**24


class RandomSubspace:
    """The `size x dimensions` matrix A of independent standard normal numbers.

    Each block of rows has its own seed, so any block can be drawn again. The first blocks are kept
    up to `KEPT_BYTES`, and the others are drawn at each use. On the host this takes `KEPT_BYTES`,
    three blocks, and `dimensions ^ 2` float64 for the pseudo-inverse, however large the model is.
    What is kept affects the time, not the numbers.

    Args:
        size: Number of weights, the rows of A.
        dimensions: Columns of A, at most `size`.
        dtype: Type of the numbers: that of the weights.
        seed: A non-negative integer.
    """

    def __init__(self, size: int, dimensions: int, dtype: np.dtype[Any], seed: int) -> None:
        self.size = size
        self.dimensions = dimensions
        self.dtype = np.dtype(dtype)
        self._seed = seed
        self._rows = max(1, BLOCK_BYTES // (8 * dimensions))
        row_bytes = dimensions * self.dtype.itemsize
        self._kept_blocks = KEPT_BYTES // (self._rows * row_bytes)
        self._kept: list[Vector] = []

    def expand(self, coordinates: Array) -> Vector:
        """Returns `A z`, the displacement of the weights."""
        z = np.asarray(coordinates, self.dtype)
        vector = np.empty(self.size, self.dtype)
        for rows, block in self._blocks():
            np.matmul(block, z, out=vector[rows])
        return vector

    def project(self, vector: Vector) -> Array:
        """Returns `A^T v`: the gradient in the coordinates, from that in the weights."""
        total = np.zeros(self.dimensions)
        for rows, block in self._blocks():
            total += np.asarray(vector[rows] @ block, np.float64)
        return total

    def coordinates(self, vector: Vector) -> Array:
        """Returns `A^+ v`, from the normal equations in float64."""
        gram = np.zeros((self.dimensions, self.dimensions))
        right = np.zeros(self.dimensions)
        for rows, block in self._blocks():
            wide = block.astype(np.float64, copy=False)
            gram += wide.T @ wide
            right += vector[rows] @ wide
        return np.asarray(np.linalg.solve(gram, right), np.float64)

    def _blocks(self) -> Iterator[tuple[slice, Vector]]:
        for number, start in enumerate(range(0, self.size, self._rows)):
            rows = slice(start, min(start + self._rows, self.size))
            if number < len(self._kept):
                yield rows, self._kept[number]
                continue
            # From 1 on: NumPy treats [seed, 0] as [seed], which others use.
            random = np.random.default_rng([self._seed, number + 1])
            block = random.standard_normal((rows.stop - start, self.dimensions), self.dtype)
            if number < self._kept_blocks:
                self._kept.append(block)
            yield rows, block
