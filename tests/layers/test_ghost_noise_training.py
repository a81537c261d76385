"""GhostNoise inside real models: its draws, resuming, files, accumulation, other batch sizes."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_bigbatch as kbb
from keras_bigbatch.layers import GhostNoise
from tests import exported
from tests.callbacks.fits import StopAt
from tests.oracles import ghost_noise

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
X, Y = (RNG.normal(size=(24, n)).astype("float32") for n in (6, 3))


def norms(virtual_batch=8, seed=None):
    """As one adds the noise to a batch norm: in its place."""
    return [keras.layers.BatchNormalization(momentum=0.8), GhostNoise(virtual_batch, seed=seed)]


def model_of(*norm):
    keras.utils.set_random_seed(1)
    dense = [keras.layers.Dense(4, use_bias=False), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((6,)), dense[0], *norm, dense[1]])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    return model


def fitted(model, epochs=4, callbacks=()):
    model.fit(
        X, Y, batch_size=12, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks)
    )
    return model.get_weights()


def assert_same(weights, others):
    for one, other in zip(weights, others, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_draws_are_seeded_and_new_in_each_step():
    def steps(seed):
        layer = GhostNoise(8, seed=seed)
        return [ops.convert_to_numpy(layer(X, training=True)) for _ in range(2)]

    (first, second), again, other = steps(1), steps(1), steps(2)
    np.testing.assert_array_equal([first, second], again)
    assert np.abs(first - second).max() > 0.1
    assert np.abs(first - other[0]).max() > 0.1


@pytest.mark.parametrize("stop", [(2, None), (2, 1)], ids=["between epochs", "in an epoch"])
def test_a_resumed_training_has_the_noise_of_an_uninterrupted_one(stop, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fitted(model_of(*norms(seed=3)), callbacks=[backup, StopAt(*stop)])
    # Another process without a seed would draw another one.
    resumed = fitted(model_of(*norms(seed=99)), callbacks=[backup])
    assert_same(resumed, fitted(model_of(*norms(seed=3))))


def test_weights_move_to_a_model_without_noise_and_back(tmp_path):
    noisy, plain = model_of(*norms()), model_of(norms()[0])
    fitted(noisy, epochs=1)
    fitted(plain, epochs=1)  # whose optimizer then has its variables too
    noisy.save_weights(tmp_path / "noisy.weights.h5")
    plain.load_weights(tmp_path / "noisy.weights.h5")
    assert_same(plain.get_weights(), noisy.get_weights())
    plain.save_weights(tmp_path / "plain.weights.h5")
    other = model_of(*norms(seed=1))
    fitted(other, epochs=1)
    other.load_weights(tmp_path / "plain.weights.h5")
    np.testing.assert_array_equal(other.predict(X, verbose=0), plain.predict(X, verbose=0))


def test_a_model_that_exists_gets_the_noise_and_comes_back_from_a_file(tmp_path):
    model = model_of(norms()[0])
    fitted(model, epochs=1)

    def with_noise(layer):
        same = layer.__class__.from_config(layer.get_config())
        if not isinstance(layer, keras.layers.BatchNormalization):
            return same
        return keras.Sequential([same, GhostNoise(8, axis=layer.axis, seed=5)], name=layer.name)

    noisy = keras.models.clone_model(model, clone_function=with_noise)
    noisy.set_weights(model.get_weights())
    np.testing.assert_array_equal(noisy.predict(X, verbose=0), model.predict(X, verbose=0))
    noisy.compile(keras.optimizers.SGD(0.1), "mse")
    fitted(noisy, epochs=1)
    noisy.save(tmp_path / "noisy.keras")
    loaded = keras.saving.load_model(tmp_path / "noisy.keras")
    assert_same(fitted(loaded, epochs=1), fitted(noisy, epochs=1))


def test_behind_batch_norm_it_is_ghost_batch_norm_with_drawn_groups():
    """With gamma and beta too, if `epsilon` is small: the mean, beta, is not scaled."""
    x = RNG.normal(2, 3, size=(24, 4)).astype("float32")
    norm, noise = keras.layers.BatchNormalization(epsilon=1e-7), GhostNoise(8, epsilon=1e-7, seed=5)
    norm.build(x.shape)
    gamma, beta = RNG.uniform(0.5, 2, 4), RNG.normal(size=4)
    norm.set_weights([gamma, beta, *norm.get_weights()[2:]])
    y = ops.convert_to_numpy(noise(norm(x, training=True), training=True))
    generator = keras.random.SeedGenerator(5)
    drawn = ops.convert_to_numpy(keras.random.randint((24, 8), 0, 24, "int32", generator))
    groups = x.astype("float64")[drawn]
    wanted = gamma * (x - groups.mean(1)) / groups.std(1) + beta
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)


def test_each_micro_batch_has_draws_and_statistics_of_its_own():
    model = keras.Sequential(
        [keras.Input((6,)), GhostNoise(8, seed=5), keras.layers.Dense(3, use_bias=False)]
    )
    model.compile(keras.optimizers.SGD(1.0, gradient_accumulation_steps=2), "mse")
    (before,) = model.get_weights()
    model.fit(X, Y, batch_size=12, verbose=0, shuffle=False)
    generator, gradients = keras.random.SeedGenerator(5), []
    for part in (slice(12), slice(12, 24)):
        drawn = keras.random.randint((12, 8), 0, 12, "int32", generator)
        x, _ = ghost_noise(X[part], ops.convert_to_numpy(drawn), -1, 1e-3)
        gradients.append(2 * x.T @ (x @ before - Y[part]) / Y[part].size)
    (after,) = model.get_weights()
    np.testing.assert_allclose(after, before - np.mean(gradients, axis=0), rtol=1e-4, atol=1e-5)


def test_inside_a_layer_that_always_trains():
    """Keras asks for the shapes of a batch of unknown size, with noise."""

    class Always(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.noise = GhostNoise(8, seed=5)

        def call(self, inputs):
            return self.noise(inputs, training=True) * 2

    inputs = keras.Input((6,))
    model = keras.Model(inputs, Always()(inputs))
    assert model.output_shape == (None, 6)
    wanted = ops.convert_to_numpy(GhostNoise(8, seed=5)(X, training=True)) * 2
    np.testing.assert_allclose(model.predict(X, verbose=0, batch_size=24), wanted, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow traces for any batch size")
@pytest.mark.parametrize("jit", [True, False])
def test_one_trace_serves_every_batch_size(jit):
    import tensorflow as tf

    layer = GhostNoise(8, seed=5)
    layer.build((None, None, 3))
    run = tf.function(
        lambda inputs: layer(inputs, training=True),
        input_signature=[tf.TensorSpec((None, None, 3))],
        jit_compile=jit,
    )
    generator = keras.random.SeedGenerator(5)
    for batch in (1, 7, 24):
        x = RNG.normal(size=(batch, 5, 3)).astype("float32")
        drawn = keras.random.randint((batch, 8), 0, batch, "int32", generator)
        wanted, _ = ghost_noise(x, ops.convert_to_numpy(drawn), -1, 1e-3)
        np.testing.assert_allclose(run(x), wanted, rtol=1e-4, atol=1e-4)
    # A replica of a strategy may get no sample at all.
    assert run(np.zeros((0, 5, 3), "float32")).shape == (0, 5, 3)


def test_an_exported_model_has_no_noise(tmp_path):
    model = model_of(*norms())
    wanted = model.predict(X, verbose=0)
    if BACKEND == "torch":
        nodes = exported.program(model, X).graph.nodes
        assert not [node for node in nodes if "randint" in str(node.target)]
    found = exported.served(model, X, tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_statistics_are_renewed_behind_it_and_its_draws_kept():
    model = model_of(*norms(seed=3))
    before = ops.convert_to_numpy(model.layers[2].seed_generator.state.value)
    kbb.layers.renew_statistics(model, X, batch_size=12)
    hidden = X @ model.get_weights()[0]
    np.testing.assert_allclose(model.layers[1].get_weights()[2], hidden.mean(0), atol=1e-5)
    after = ops.convert_to_numpy(model.layers[2].seed_generator.state.value)
    np.testing.assert_array_equal(after, before)
