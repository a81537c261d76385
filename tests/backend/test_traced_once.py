"""On TensorFlow, what a graph does many times is traced once; elsewhere it is called."""

import gc

import keras
import numpy as np
import pytest

from keras_bigbatch import GhostBatchNormalization, _backend
from keras_bigbatch.layers import _moving_statistics
from tests.backend.ghost_norm_cases import BACKEND

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")


def counted():
    """A function, and the calls that Python makes of it."""
    calls = []

    def scaled(x, offset=None, by=1.0):
        calls.append(by)
        return x * by if offset is None else x * by + offset

    return scaled, calls


def test_outside_of_graphs_it_is_a_call():
    scaled, calls = counted()
    x = keras.ops.convert_to_tensor(X)
    for _ in range(2):
        found = _backend.active().ghost_norm.traced_once(scaled, x, by=3.0)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(found), 3 * X)
    assert calls == [3.0, 3.0]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="graphs are TensorFlow's")
class TestGraphs:
    def test_calls_that_are_alike_share_a_trace(self):
        import tensorflow as tf

        scaled, calls = counted()
        traced_once = _backend.active().ghost_norm.traced_once

        @tf.function
        def graph(x):
            same = [traced_once(scaled, x + i, by=3.0) for i in range(3)]
            others = [
                traced_once(scaled, x[:, :2], by=3.0),
                traced_once(scaled, x, by=2.0),
                traced_once(scaled, tf.cast(x, "float64"), by=3.0),
                traced_once(scaled, x, x, by=3.0),
                traced_once(scaled, x, None, by=3.0),
            ]
            return same, others

        same, (fewer, twice, double, more, none) = graph(X)
        assert calls == [3.0, 3.0, 2.0, 3.0, 3.0, 3.0]
        for i, found in enumerate(same):
            np.testing.assert_allclose(found, 3 * (X + i), rtol=1e-6)
        np.testing.assert_allclose(fewer, 3 * X[:, :2])
        np.testing.assert_allclose(twice, 2 * X)
        np.testing.assert_allclose(double, 3 * X.astype("float64"))
        np.testing.assert_allclose(more, 4 * X, rtol=1e-6)
        np.testing.assert_allclose(none, 3 * X)

    def test_another_graph_has_the_trace_of_the_first(self):
        import tensorflow as tf

        scaled, calls = counted()
        for plus in (1, 2):
            graph = tf.function(
                lambda x, plus=plus: (
                    _backend.active().ghost_norm.traced_once(scaled, x, by=3.0) + plus
                )
            )
            np.testing.assert_allclose(graph(X), 3 * X + plus, rtol=1e-6)
        assert calls == [3.0]

    def test_a_graph_keeps_the_traces_that_it_calls(self):
        from keras_bigbatch._backend.tensorflow.ghost_norm import traces

        def trained(forgetful):
            keras.utils.set_random_seed(0)
            stack = [keras.layers.Dense(4), GhostBatchNormalization(4)]
            model = keras.Sequential([keras.Input((4,)), *stack])
            model.compile(keras.optimizers.SGD(0.1), "mse")
            for _ in range(3):
                model.train_on_batch(X, X)
                if forgetful:
                    traces.traced.cache_clear()
                    gc.collect()
            return model.get_weights()

        for one, other in zip(trained(True), trained(False), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_it_is_a_constant_to_whoever_differentiates(self):
        import tensorflow as tf

        scaled, _ = counted()

        @tf.function
        def slope(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = x * _backend.active().ghost_norm.traced_once(scaled, x, by=3.0)
            return tape.gradient(y, x)

        np.testing.assert_allclose(slope(X), 3 * X, rtol=1e-6)

    def test_layers_of_one_size_are_traced_once_and_train_as_without(self, monkeypatch):
        traced = []
        moved = _moving_statistics._moved_by_groups

        def counting(*arguments, **options):
            traced.append(options)
            return moved(*arguments, **options)

        def trained(eagerly):
            keras.utils.set_random_seed(0)
            # One without gamma and one without beta: their tensors must not be taken for another's.
            options = [{}, {}, {"scale": False}, {"center": False}, {"momentum": 0.9}]
            norms = [GhostBatchNormalization(4, **each) for each in options]
            stack = [layer for norm in norms for layer in (keras.layers.Dense(4), norm)]
            model = keras.Sequential([keras.Input((4,)), *stack])
            model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=eagerly)
            model.fit(X, X, batch_size=8, epochs=3, verbose=0)
            return model.get_weights()

        wanted = trained(eagerly=True)
        monkeypatch.setattr(_moving_statistics, "_moved_by_groups", counting)
        found = trained(eagerly=False)
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
        assert len(traced) == 2, "five layers with two momenta"
