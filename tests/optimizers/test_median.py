"""Medians of magnitudes: np.median, to the bit, on every backend's own path and compiled."""

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_bigbatch import _backend
from keras_bigbatch._backend.reference import optimizer as layerwise
from keras_bigbatch.optimizers import MCLR
from tests.optimizers.steps import stepped
from tests.problems import compiles

BACKEND = keras.backend.backend()
# Powers of two and their neighbours are where bits carry.
SPECIAL = [0.0, -0.0, 1.0, np.nextafter(np.float32(1), 0), -1.5, 2.0, 2**-60, 1e-40, np.inf]


def found(values):
    tensor = keras.ops.convert_to_tensor(values)
    return keras.ops.convert_to_numpy(_backend.active().optimizer.median_magnitude(tensor))


def check(values):
    values = np.asarray(values)
    expected = np.median(np.abs(values))
    result = found(values)
    assert result.shape == ()
    # XLA's arithmetic and TensorFlow's take numbers below the smallest normal one for zeros.
    smallest = 2 * np.finfo(values.dtype).tiny
    if not (expected < smallest and result == 0):
        np.testing.assert_array_equal(result, expected)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**32 - 1), st.sampled_from(["all", "few", "special"]))
@example(1, 0, "all")
@example(2, 0, "all")
@example(4999, 1, "few")
def test_equals_numpy(size, seed, kind):
    rng = np.random.default_rng(seed)
    if kind == "all":
        values = rng.normal(size=size) * 10.0 ** rng.integers(-30, 30)
    else:
        few = rng.normal(size=5) if kind == "few" else SPECIAL
        values = rng.choice(few, size)
    check(values.astype("float32"))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_draws_of_special_values(size):
    rng = np.random.default_rng(size)
    for _ in range(30):
        check(rng.choice(SPECIAL, size).astype("float32"))


@pytest.mark.parametrize("shape", [(), (1,), (2, 1), (3, 5), (2, 3, 4), (3, 3, 7, 11)])
def test_shapes(shape):
    check(np.random.default_rng(0).normal(size=shape).astype("float32"))


@pytest.mark.parametrize("size", [3, 4, 10_001])
@pytest.mark.parametrize("sign", [1, -1])
def test_one_nan_is_enough(size, sign):
    values = np.random.default_rng(size).normal(size=size).astype("float32")
    values[size // 3] = np.copysign(np.float32(np.nan), np.float32(sign))
    assert np.isnan(found(values))


def test_more_infinities_than_numbers():
    for values in ([np.inf], [1, np.inf, -np.inf], [np.inf] * 4, [1, 2, np.inf, np.inf]):
        assert found(np.array(values, "float32")) == np.inf


def test_nothing_has_no_median():
    assert np.isnan(found(np.zeros((0, 3), "float32")))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless it is told to")
@pytest.mark.parametrize("size", [1, 6, 4001])
def test_float64(size):
    values = np.random.default_rng(size).normal(size=size)
    check(values)
    check(values * 1e-200)
    assert found(values).dtype == np.float64


@compiles
@pytest.mark.parametrize("values", [np.arange(-9.0, 4001), np.array([0.0, 0, 3, 4]), np.ones(7)])
def test_compiled(values):
    values = values.astype("float32")
    median = _backend.active().optimizer.median_magnitude
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(median)
    elif BACKEND == "torch":
        import torch

        compiled = torch.compile(median)
    else:
        import tensorflow as tf

        compiled = tf.function(median, jit_compile=True)
    result = keras.ops.convert_to_numpy(compiled(keras.ops.convert_to_tensor(values)))
    np.testing.assert_array_equal(result, np.median(np.abs(values)))


def test_equals_the_reference():
    values = np.random.default_rng(0).normal(size=(31, 100)).astype("float32")
    expected = layerwise.median_magnitude(keras.ops.convert_to_tensor(values))
    np.testing.assert_array_equal(found(values), keras.ops.convert_to_numpy(expected))


def test_a_gradient_with_nan_moves_the_rest_with_ratio_one():
    weight = np.ones((2, 2), "float32")
    gradient = np.array([[np.nan, 1], [2, 3]], "float32")
    optimizer = MCLR(1.0, 0.0, 0.01, weight_decay=1e-4)
    after = stepped(optimizer, {"a/kernel": weight}, [{"a/kernel": gradient}])["a/kernel"]
    assert optimizer.trust_ratios == {"a/kernel": 1.0}
    np.testing.assert_allclose(after.ravel()[1:], [-1e-4, -1 - 1e-4, -2 - 1e-4], atol=1e-6)
    assert np.isnan(after[0, 0])
