"""Sharpness-aware models resumed and exported."""

import keras
import numpy as np
import pytest

from keras_bigbatch.training import sharpness_aware
from tests.callbacks.fits import StopAt
from tests.exported import served
from tests.training.sharpness import X, Y, assert_close


def normalized(radius=0.1):
    """A network with moving statistics. Dropout is left out: Keras does not save its draws."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(2)])
    return sharpness_aware(model, radius, virtual_batch=3)


def trained(*callbacks):
    model = normalized()
    model.compile(keras.optimizers.SGD(0.02, momentum=0.9), "mse")
    model.fit(X, Y, batch_size=6, epochs=4, verbose=0, shuffle=False, callbacks=list(callbacks))
    return model


@pytest.mark.parametrize("stop", [(2, None), (2, 1)], ids=["between epochs", "in an epoch"])
def test_a_resumed_training_is_an_uninterrupted_one(stop, tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        trained(backup, StopAt(*stop))
    resumed, whole = trained(backup), trained()
    assert_close(resumed.get_weights(), whole.get_weights(), rtol=1e-6, atol=1e-6)


def test_an_exported_model_is_the_plain_one(tmp_path):
    model = trained()
    wanted = model.predict(X, verbose=0)
    found = served(model, X, tmp_path)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
