"""Keras's names that are not public do what `_private_step` says of a training step.

The oldest Keras runs these tests too. A name that goes without an error would change results.
"""

import keras
import numpy as np
import pytest

from keras_bigbatch import _private_step
from tests.private_api.fits import X, Y, fitted, model_of

BACKEND = keras.backend.backend()


def test_the_reported_loss_is_that_of_the_tracker():
    model = fitted(model_of())
    tracker = _private_step.loss_tracker(model)
    assert tracker is model.metrics[0]
    assert float(tracker.result()) == pytest.approx(model.history.history["loss"][0])


def test_metrics_and_losses_are_built_from_a_batch():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", ["mse"], metrics=["mae"])
    before = len(model.metrics_variables)
    _private_step.build_metrics(model, (X, Y))
    assert len(model.metrics_variables) > before


def test_numbers_without_a_seed_move_the_global_state():
    assert _private_step.global_seed_state() is None  # each test is given a new seed
    _private_step.make_global_seed()
    state = _private_step.global_seed_state()
    before = keras.ops.convert_to_numpy(state).copy()
    keras.random.normal((2,))
    assert (keras.ops.convert_to_numpy(state) != before).any()
    _private_step.make_global_seed()
    assert _private_step.global_seed_state() is state


def test_the_mask_of_an_output_is_found_and_can_be_set():
    masked = keras.layers.Masking()(np.array([[[0.0], [1.0]]], "float32"))
    mask = _private_step.mask_of(masked)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mask), [[False, True]])
    assert _private_step.mask_of(X) is None
    if BACKEND != "jax":  # whose arrays in a training step are new ones
        other = _private_step.set_mask(keras.ops.ones((1, 2, 1)), mask)
        assert keras.layers.Identity()(other)._keras_mask is mask
