"""TensorFlow's own ghost batch norm: graphs for any batch, with and without XLA."""

import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch._backend.reference import ghost_norm
from tests.backend.ghost_norm_cases import BACKEND, data, make_tiles_small

pytestmark = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="TensorFlow alone traces for any batch, for XLA or without it"
)


@pytest.mark.parametrize(
    ("shape", "axis", "jit", "positions"),
    [
        *(
            (shape, axis, jit, "known")
            for shape, axis in [((6,), 1), ((4, 5, 6), 3), ((6, 3, 3), 1)]
            for jit in (False, True)
        ),
        *(((4, 5, 6), 3, jit, "unknown") for jit in (False, True)),
    ],
    ids=str,
)
def test_traced_for_any_batch(monkeypatch, shape, axis, jit, positions):
    import tensorflow as tf

    make_tiles_small(monkeypatch)  # Two samples of the pictures; a batch of 19 leaves one over.
    gamma, beta = tf.linspace(0.5, 2.0, 6), tf.linspace(-1.0, 1.0, 6)

    def results(normalize, x, dy):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            y, moments = normalize(x, gamma, beta, 8, axis, 1e-3)
        return y, *moments, *tape.gradient(y, (x, gamma, beta), dy)

    sizes = shape if positions == "known" else (None, None, 6)
    spec = tf.TensorSpec((None, *sizes))
    own = _backend.active().ghost_norm.ghost_normalize
    traced = tf.function(
        lambda x, dy: results(own, x, dy), input_signature=[spec, spec], jit_compile=jit
    )
    for batch in (1, 7, 16, 19):
        x, dy = data(batch, shape)
        found = traced(x, dy)
        wanted = results(ghost_norm.ghost_normalize, x, tf.constant(dy))
        for actual, value in zip(found, wanted, strict=True):
            np.testing.assert_allclose(actual, value, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("batch", [7, 16, 19])
@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 6), 3), ((6, 3, 3), 1), ((6,), 1)], ids=str)
@pytest.mark.parametrize("on_cpu", [True, False], ids=["CPU", "TPU or GPU"])
def test_compiled_for_a_known_batch(monkeypatch, on_cpu, shape, axis, batch):
    import tensorflow as tf

    make_tiles_small(monkeypatch)
    for module in (_backend.active().ghost_norm, _backend.active().ghost_norm.groups):
        monkeypatch.setattr(module, "on_cpu", lambda: on_cpu)

    def results(normalize, x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, moments = normalize(x, None, None, 8, axis, 1e-3)
        return y, *moments, tape.gradient(y, x, dy)

    x, dy = map(tf.constant, data(batch, shape))
    own = _backend.active().ghost_norm.ghost_normalize
    found = tf.function(lambda x, dy: results(own, x, dy), jit_compile=True)(x, dy)
    for actual, value in zip(found, results(ghost_norm.ghost_normalize, x, dy), strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("compiled_first", [False, True])
@pytest.mark.parametrize("shape", [(6,), (4, 6)], ids=str)
def test_a_graph_may_be_run_with_and_without_xla(shape, compiled_first):
    import tensorflow as tf

    gamma, beta = tf.linspace(0.5, 2.0, 6), tf.linspace(-1.0, 1.0, 6)
    x, _ = map(tf.constant, data(19, shape))

    def gradient(normalize):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, _ = normalize(x, gamma, beta, 8, len(shape), 1e-3)
            loss = tf.reduce_sum(y**3)
        return tape.gradient(loss, x)

    own = tf.function(
        _backend.active().ghost_norm.ghost_normalize
    )  # Traced once, by what comes first.
    plain, compiled = (tf.function(lambda: gradient(own), jit_compile=jit) for jit in (None, True))
    calls = (compiled, plain, lambda: gradient(own))
    found = [call() for call in (calls if compiled_first else reversed(calls))]
    wanted = gradient(ghost_norm.ghost_normalize)
    for actual in found:
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("axis", [1, 3])
def test_a_large_group_of_a_large_mean(axis, jit):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(
        1e4, 1, size=(512, 4, 64, 4) if axis == 1 else (512, 16, 16, 4)
    )
    x = x.astype("float32")
    others = tuple(i for i in range(4) if i != axis)
    normalize = _backend.active().ghost_norm.ghost_normalize
    spec = tf.TensorSpec((None, *x.shape[1:]))
    normalized = tf.function(
        lambda x: normalize(x, None, None, 512, axis, 0.0)[0],
        input_signature=[spec],
        jit_compile=jit,
    )
    exact = x.astype("float64")
    exact = (exact - exact.mean(others, keepdims=True)) / exact.std(others, keepdims=True)
    np.testing.assert_allclose(normalized(x), exact, atol=1e-2)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("shape", [(6,), (4, 6)], ids=str)
def test_differentiated_twice_in_a_graph_for_any_batch(monkeypatch, shape, jit):
    import tensorflow as tf

    make_tiles_small(monkeypatch)  # Twelve samples of the sequences.
    gamma, beta = tf.linspace(0.5, 2.0, 6), tf.linspace(-1.0, 1.0, 6)

    def product(normalize, x, along):
        """The Hessian of a loss that weighs the channels differently, times a vector."""
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y, _ = normalize(x, gamma, beta, 8, len(shape), 1e-3)
                loss = tf.reduce_sum(tf.sin(y) * tf.range(6.0))
            slope = tf.reduce_sum(inner.gradient(loss, x) * along)
        return outer.gradient(slope, x)

    spec = tf.TensorSpec((None, *shape))
    own = _backend.active().ghost_norm.ghost_normalize
    traced = tf.function(
        lambda x, v: product(own, x, v), input_signature=[spec, spec], jit_compile=jit
    )
    for batch in (3, 16, 19):
        x, along = map(tf.constant, data(batch, shape))
        wanted = product(ghost_norm.ghost_normalize, x, along)
        np.testing.assert_allclose(traced(x, along), wanted, rtol=1e-4, atol=1e-4)
