"""The noise scales of SGD and Adam: against gradients of a softmax regression by hand."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("the experiment is on JAX only", allow_module_level=True)

from reproduction import training
from reproduction.moves import noise

DRAW = np.random.default_rng(2)
X, Y = DRAW.normal(size=(64, 3)).astype("float32"), DRAW.integers(0, 4, 64).astype("int32")


@pytest.fixture(scope="module")
def fitted():
    """A regression, its gradients by sample before its only update, and what was measured."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    training.compiled(model, keras.optimizers.AdamW(1e-6, weight_decay=0.1))
    logits = X @ model.get_weights()[0]
    errors = np.exp(logits) / np.exp(logits).sum(1, keepdims=True) - np.eye(4)[Y]
    gradients = [X[:, :, None] * errors[:, None], errors]
    data = type("Data", (), {"x_train": X, "y_train": Y})
    along = noise.NoiseAlong(data, [1])
    model.fit(X, Y, batch_size=64, callbacks=[along], verbose=0)
    return model, gradients, along.found


def test_moments_are_those_of_the_samples_gradients(fitted):
    model, gradients, _ = fitted
    means, variances = noise.GradientMoments(model)(X, Y)
    for ours, theirs in zip(
        [*means, *variances],
        [*(each.mean(0) for each in gradients), *(each.var(0) for each in gradients)],
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_preconditioner_after_one_update_is_the_gradients_size(fitted):
    model, gradients, _ = fitted
    for ours, each in zip(noise.preconditioner(model.optimizer), gradients, strict=True):
        np.testing.assert_allclose(ours, 1 / (np.abs(each.mean(0)) + 1e-7), rtol=1e-3)


def test_scales_by_hand(fitted):
    _, gradients, (found,) = fitted
    flat = np.concatenate([each.reshape(64, -1) for each in gradients], axis=1)
    mean, variance = flat.mean(0), flat.var(0)
    assert found["SGD"] == pytest.approx(variance.sum() / (mean**2).sum(), rel=1e-2)
    # With P = 1 / |g|: sum(variance / |g|) / sum(|g|).
    expected = (variance / np.abs(mean)).sum() / np.abs(mean).sum()
    assert found["Adam"] == pytest.approx(expected, rel=1e-2)
    assert found["updates"] == 1


def test_a_constant_preconditioner_changes_nothing():
    means, variances = [np.array([1.0, 2.0])], [np.array([3.0, 4.0])]
    for constant in (1.0, 7.0):
        assert noise.noise_scale(means, variances, [np.full(2, constant)]) == pytest.approx(7 / 5)
