"""The noise of LargeBatchModel: its mean, its covariance, its random state."""

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch.training import LargeBatchModel
from tests.callbacks.fits import StopAt
from tests.training.large_batch import (
    X,
    Y,
    assert_close,
    large,
    layer_weights,
    one_step,
    plain_model,
)

RNG = np.random.default_rng(1)


def drawn_weights(samples, **options):
    """The weights of that many samples in one step, through the gradient of a row of each."""
    inputs = keras.layers.Input((), dtype="int32")
    rows = keras.layers.Embedding(samples, 1, embeddings_initializer="zeros")
    model = LargeBatchModel(inputs, rows(inputs), **options)
    model.compile(keras.optimizers.SGD(1.0), lambda y, prediction: prediction[..., 0])
    index = np.arange(samples)
    model.fit(index, index, batch_size=samples, epochs=1, verbose=0, shuffle=False)
    return -samples * model.get_weights()[0][:, 0].astype("float64")


def test_noise_has_the_mean_and_the_covariance_of_a_small_batch():
    """40 000 draws against the closed form: mean, and covariance cov(g) / B_S at a minimum."""
    large_batch, small_batch, draws = 32, 8, 40_000
    z = drawn_weights(large_batch * draws, gradient_noise=large_batch / small_batch - 1, seed=7)
    assert z.std() == pytest.approx(np.sqrt(3), rel=0.01)
    x = RNG.normal(size=(500, 3))
    y = x.sum(1) + RNG.normal(size=500)
    residual = y - x @ np.linalg.lstsq(x, y)[0]
    gradients = -2 * residual[:, None] * x  # Their sum is zero.
    drawn = np.einsum(
        "dm,dmp->dp",
        z.reshape(draws, large_batch) / large_batch,
        gradients[RNG.integers(0, 500, (draws, large_batch))],
    )
    assert np.all(np.abs(drawn.mean(0)) < 3 * drawn.std(0) / np.sqrt(draws))
    covariance = gradients.T @ gradients / 500
    assert np.trace(np.cov(drawn.T)) == pytest.approx(np.trace(covariance) / small_batch, rel=0.05)


def test_noise_is_seeded_and_new_in_each_step():
    def steps(seed):
        model = large(gradient_noise=3.0, seed=seed)
        return [one_step(model)[0], one_step(model)[0]]

    first, again, other = steps(1), steps(1), steps(2)
    assert_close(first, again, rtol=0, atol=0)
    assert np.abs(first[0] - other[0]).max() > 1e-3
    regular = one_step(plain_model())[0]
    assert np.abs(first[0] - regular).max() > 1e-3


def test_each_replica_draws_its_own(monkeypatch):
    """Under TensorFlow's and torch's replicas, which have the same state of the random numbers."""
    drawn = []
    for index in (0, 1):
        own = (index, 2)
        monkeypatch.setattr(_backend.active().replicas, "rank_and_count", lambda own=own: own)
        drawn.append(drawn_weights(4000, gradient_noise=3.0, seed=5))
    assert abs(np.corrcoef(drawn)[0, 1]) < 0.06
    assert drawn[1].std() == pytest.approx(np.sqrt(3), rel=0.05)


def test_noise_and_discarding_together():
    both = drawn_weights(10_000, gradient_noise=3.0, discard_small_loss=0.3, seed=3)
    assert np.sum(both == 0) == 3000
    kept = both[both != 0]
    assert kept.mean() == pytest.approx(1 / 0.7, rel=0.05)
    assert kept.std() == pytest.approx(np.sqrt(3) / 0.7, rel=0.05)


def trained(*callbacks, **options):
    model = large(gradient_noise=3.0, **options)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.fit(X, Y, batch_size=8, epochs=4, verbose=0, shuffle=False, callbacks=list(callbacks))
    return model


@pytest.mark.parametrize("stop", [(2, None), (2, 1)], ids=["between epochs", "in an epoch"])
def test_a_resumed_training_has_the_noise_of_an_uninterrupted_one(stop, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        trained(backup, StopAt(*stop), seed=3)
    # Another process without a seed would draw another one.
    resumed = trained(backup, seed=99)
    assert_close(layer_weights(resumed), layer_weights(trained(seed=3)), rtol=1e-6)


def test_a_loaded_model_goes_on_with_its_noise(tmp_path):
    model = trained(seed=3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.get_weights()) == len(model.get_weights()) == 4
    for each in (model, loaded):
        each.fit(X, Y, batch_size=8, epochs=1, verbose=0, shuffle=False)
    assert_close(layer_weights(loaded), layer_weights(model), rtol=1e-6)


def test_weights_move_to_the_plain_model_and_back(tmp_path):
    """The state of the noise is no weight: files of either are files of the other."""
    model, plain = trained(), plain_model(seed=5)
    model.save_weights(tmp_path / "model.weights.h5")
    plain.load_weights(tmp_path / "model.weights.h5")
    assert_close(plain.get_weights(), model.get_weights(), rtol=0, atol=0)
    plain.save_weights(tmp_path / "plain.weights.h5")
    other = large(seed=1, gradient_noise=3.0)
    other.load_weights(tmp_path / "plain.weights.h5")
    assert_close(other.get_weights(), model.get_weights(), rtol=0, atol=0)
