"""Trainings that share a compiled model: each as one of its own."""

import keras
import numpy as np
import pytest

from reproduction import repeated_training, training
from reproduction.repeated_training import RepeatedTraining
from tests.reproduction.helpers import small_network

EPOCHS = 3


def optimizer():
    return keras.optimizers.AdamW(
        training.warmed_cosine(0.05, EPOCHS), weight_decay=0.1, epsilon=0.01
    )


def test_a_second_seed_is_trained_as_by_a_fit_of_its_own(digits, monkeypatch):
    monkeypatch.setattr(repeated_training, "network", small_network)
    # All samples in one batch, and statistics of all: the order, which Keras draws, is of no effect
    # but for rounding, which a large epsilon keeps AdamW from enlarging.
    data, plain = digits[400], training.plain_norm()
    repeated = RepeatedTraining(data, data.examples, EPOCHS, plain, optimizer())
    progress = keras.callbacks.Callback()
    first, second = (repeated(seed, progress) for seed in (3, 4))
    weights = repeated.model.get_weights()

    keras.utils.set_random_seed(4)
    alone = small_network(data.shape, 10, plain)
    training.compiled(alone, optimizer())
    alone.fit(**data.training(data.examples, 4), epochs=EPOCHS, verbose=0)
    for ours, theirs in zip(weights, alone.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert second["updates"] == training.updates_of(alone) == EPOCHS
    assert second["samples"] == EPOCHS * 800
    # The first seed again, after another one: nothing of that is left.
    again = repeated(3, progress)["test_loss"]
    assert again == pytest.approx(first["test_loss"], rel=1e-4)
    kernels = [each[0] for each in (weights, repeated.model.get_weights())]
    assert np.abs(np.subtract(*kernels)).max() > 0.1


def test_a_seed_is_the_same_training_whatever_was_made_before(digits, monkeypatch):
    monkeypatch.setattr(repeated_training, "network", small_network)
    plain = training.plain_norm()
    repeated = RepeatedTraining(digits[400], 20, 1, plain, optimizer())
    progress = keras.callbacks.Callback()
    first, _, again = (repeated(seed, progress) for seed in (3, 4, 3))
    del first["seconds"], again["seconds"]
    assert first == pytest.approx(again, rel=1e-5)  # another order would be far from it
