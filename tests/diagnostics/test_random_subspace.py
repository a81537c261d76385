"""A random subspace's blocks beside the whole matrix, and the memory that they take."""

import tracemalloc

import numpy as np
import pytest

from keras_bigbatch._numerics import random_subspace as _random_subspace
from keras_bigbatch._numerics.random_subspace import RandomSubspace


def matrix_of(size, dimensions, seed=0, dtype="float32"):
    space = RandomSubspace(size, dimensions, np.dtype(dtype), seed)
    return np.stack([space.expand(unit) for unit in np.eye(dimensions)], 1).astype("float64")


@pytest.mark.parametrize("kept", [0, 10_000, 10**9])
def test_blocks_are_one_matrix(monkeypatch, kept):
    whole = matrix_of(1000, 5)
    monkeypatch.setattr(_random_subspace, "KEPT_BYTES", kept)
    space = RandomSubspace(1000, 5, np.dtype("float32"), 0)
    rng = np.random.default_rng(1)
    z, v = rng.normal(size=5), rng.normal(size=1000).astype("float32")
    for _ in range(2):
        np.testing.assert_allclose(space.expand(z), whole @ z, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(space.project(v), whole.T @ v, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(space.coordinates(v), np.linalg.pinv(whole) @ v, rtol=1e-4)


def test_small_blocks_are_independent_standard_normal_numbers(monkeypatch):
    monkeypatch.setattr(_random_subspace, "BLOCK_BYTES", 8 * 5 * 100)
    a, other = matrix_of(4000, 5), matrix_of(4000, 5, seed=1)
    np.testing.assert_allclose(a.T @ a / 4000, np.eye(5), atol=0.1)
    np.testing.assert_allclose(a.T @ other / 4000, np.zeros((5, 5)), atol=0.1)
    assert abs(a.mean()) < 0.02
    assert len(np.unique(a)) > 0.99 * a.size
    starts = np.random.default_rng(0).standard_normal(5, np.float32)
    assert not np.isin(starts, a.astype("float32")).any()


def peak_bytes(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_of_a_subspace_of_a_million_weights():
    """100 directions are 400 MB: not all of them are kept."""
    size, dimensions = 1_000_000, 100
    space = RandomSubspace(size, dimensions, np.dtype("float32"), 0)
    used = peak_bytes(lambda: space.project(space.expand(np.ones(dimensions))))
    kept, block = _random_subspace.KEPT_BYTES, _random_subspace.BLOCK_BYTES
    assert 0.9 * kept < used < kept + 3 * block + 4 * size < 4 * size * dimensions


def test_memory_of_a_pseudo_inverse(monkeypatch):
    monkeypatch.setattr(_random_subspace, "KEPT_BYTES", 2**22)
    monkeypatch.setattr(_random_subspace, "BLOCK_BYTES", 2**20)
    size, dimensions = 200_000, 30
    vector = np.ones(size, "float32")
    space = RandomSubspace(size, dimensions, vector.dtype, 0)
    used = peak_bytes(lambda: space.coordinates(vector))
    assert 2**21 < used < 2**22 + 3 * 2**20 < 4 * size * dimensions / 3
