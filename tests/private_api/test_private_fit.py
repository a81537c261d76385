"""Keras's names that are not public do what `_private_api` says of `fit`.

The oldest Keras runs these tests too. A name that goes without an error would change results.
"""

import keras
import numpy as np
import pytest

from keras_bigbatch import _private_api
from tests.private_api.fits import fitted, model_of

BACKEND = keras.backend.backend()


def test_fit_starts_at_the_restored_epoch_until_it_is_taken_back():
    class Restore(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            _private_api.set_restored_epoch(self.model, 2)

    model = fitted(model_of(), epochs=3, callbacks=[Restore()])
    assert model.history.epoch == [2]
    _private_api.set_restored_epoch(model, None)
    assert fitted(model, epochs=3).history.epoch == [0, 1, 2]


def test_the_name_that_keras_own_backup_sets_is_the_one_that_is_read(tmp_path):
    path = tmp_path / "backup"
    model = model_of()

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise InterruptedError

    backup = keras.callbacks.BackupAndRestore(path)
    with pytest.raises(InterruptedError):
        fitted(model, epochs=4, callbacks=[backup, Interrupt()])
    found = []
    backup = keras.callbacks.BackupAndRestore(path)
    look = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda *_: found.append(_private_api.restored_epoch(model))
    )
    fitted(model, epochs=4, callbacks=[backup, look])
    assert model.history.epoch == list(range(found[0], 4))
    assert found[0] >= 1


def test_an_unknown_name_is_an_error_and_no_start_at_zero():
    with pytest.raises(AttributeError, match="_initial_epoch"):
        _private_api.set_restored_epoch(keras.layers.Dense(1), 2)


def test_averages_are_held_back_until_the_end():
    def after(context):
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
        model = model_of(optimizer)
        with context(optimizer):
            fitted(model)
        held = model.get_weights()[0]
        optimizer.finalize_variable_values(model.trainable_weights)
        return held, model.get_weights()[0]

    held, averaged = after(_private_api.averages_held_back)
    plain = fitted(model_of()).get_weights()[0]
    np.testing.assert_allclose(held, plain, rtol=1e-6)
    assert np.abs(held - averaged).max() > 1e-3


@pytest.mark.skipif(BACKEND != "jax", reason="elsewhere the variables have their values")
def test_the_trainer_of_jax_shows_what_it_holds():
    seen = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            # Not `self.model`, which synchronizes.
            state = _private_api.trainer_state(model)
            held = [*state["trainable_variables"], *state["optimizer_variables"]]
            model.jax_state_sync()
            variables = [*model.trainable_variables, *model.optimizer.variables]
            for value, variable in zip(held, variables, strict=True):
                np.testing.assert_array_equal(value, variable.value)
            seen.append(_private_api.trainer_state(model))

    model = model_of()
    fitted(model, callbacks=[Look()])
    assert seen == [None, None]
    assert _private_api.trainer_state(model) is None


def test_without_the_names_the_caller_synchronizes():
    assert _private_api.trainer_state(object()) is None
