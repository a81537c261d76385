"""A random subspace of a model's weights whose basis is never held as a whole."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_bigbatch._typing import Array, Vector

# The basis up to this size is kept; what goes beyond is drawn again each time.
KEPT_BYTES = 2**28
# A block of rows, counted in float64.
BLOCK_BYTES = 2**24


class RandomSubspace:
    """The `size x dimensions` matrix A of independent standard normal numbers.

    Blocks of rows, each from a seed of its own, so that any of them can be drawn again. The first
    ones are kept as far as `KEPT_BYTES` go, and the others drawn at each use. On the host that is
    `KEPT_BYTES`, three blocks, and `dimensions ^ 2` float64 for the pseudo-inverse, however
    large the model is. What is kept changes the time and not the numbers.

    Args:
        size: The weights, rows of A.
        dimensions: Columns of A, at most `size`.
        dtype: Of the numbers: that of the weights.
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
        """`A z`: the displacement of the weights."""
        z = np.asarray(coordinates, self.dtype)
        vector = np.empty(self.size, self.dtype)
        for rows, block in self._blocks():
            np.matmul(block, z, out=vector[rows])
        return vector

    def project(self, vector: Vector) -> Array:
        """`A^T v`: a gradient by the weights as one by the coordinates."""
        total = np.zeros(self.dimensions)
        for rows, block in self._blocks():
            total += np.asarray(vector[rows] @ block, np.float64)
        return total

    def coordinates(self, vector: Vector) -> Array:
        """`A^+ v`, by the normal equations in float64."""
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
            # From 1 on: NumPy takes [seed, 0] for [seed], which others use.
            random = np.random.default_rng([self._seed, number + 1])
            block = random.standard_normal((rows.stop - start, self.dimensions), self.dtype)
            if number < self._kept_blocks:
                self._kept.append(block)
            yield rows, block
