"""AdaScale: the gain by hand, and a training that must be plain SGD's."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("the experiment is on JAX only", allow_module_level=True)

from reproduction import training
from reproduction.moves import adascale
from reproduction.moves.adascale import AdaScaleTraining, Gain
from tests.reproduction.helpers import small_network


def sums(gradients):
    """The parts' squares, and the square of their mean."""
    return float(np.sum(gradients**2)), float(np.sum(gradients.mean(0) ** 2))


def test_gain_without_noise_is_one():
    assert Gain(25)(*sums(np.ones((25, 3)))) == pytest.approx(1, abs=1e-5)


def test_gain_without_signal_is_the_number_of_parts():
    pairs = np.array([[1.0, 2.0], [-1.0, -2.0]] * 5)
    assert Gain(10)(*sums(pairs)) == pytest.approx(10)


def test_gain_by_hand():
    # Of 1 and 3: variance 2, squared mean 4 - 2 / 2 = 3, and the gain (2 + 3) / (2 / 2 + 3).
    assert Gain(2)(*sums(np.array([[1.0], [3.0]]))) == pytest.approx(5 / 4)


def test_estimates_are_averaged_before_the_division():
    gain = Gain(2)
    gain(*sums(np.array([[1.0], [3.0]])))
    kept = 1 - 2 / 1000
    variance, mean = kept * 2 + (1 - kept) * 8, kept * 3 + (1 - kept) * (16 - 8 / 2)
    expected = (variance + mean) / (variance / 2 + mean)
    assert gain(*sums(np.array([[2.0], [6.0]]))) == pytest.approx(expected)


@pytest.mark.parametrize("parts", [1, 2])
def test_training_is_that_of_sgd_at_a_gain_of_one(digits, monkeypatch, parts):
    monkeypatch.setattr(adascale, "network", small_network)
    monkeypatch.setattr(adascale.Gain, "__call__", lambda self, *sums: 1.0)
    data, batch = digits[400], 800  # all in one batch, so that the order does not matter
    sizes = {"large_batch": batch, "small_batch": batch // parts, "epochs": 4 // parts}
    # Statistics over the features of one sample: they do not know which part it is in.
    norm = keras.layers.LayerNormalization
    made = AdaScaleTraining(data, sizes, norm, 0.1, 0.9)
    result = made(5, keras.callbacks.Callback())

    keras.utils.set_random_seed(5)
    alone = small_network(data.shape, 10, norm)
    training.compiled(alone, keras.optimizers.SGD(training.warmed_cosine(0.1, 4), momentum=0.9))
    alone.fit(**data.training(batch, 5), epochs=4, verbose=0)
    for ours, theirs in zip(made.model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert (result["updates"], result["samples"], result["mean_gain"]) == (4, 3200, 1.0)
