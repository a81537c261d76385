"""What holds for every callback of `registry.py`: it leaves training alone and counts updates."""

import copy
import pickle

import keras
import numpy as np
import pytest

from tests import registry
from tests.problems import (
    BATCH,
    FORMS,
    assert_same_weights,
    model_of,
    plain_layer,
    reference,
    trained,
    updates,
)

callbacks = pytest.mark.parametrize("entry", registry.CALLBACKS, ids=str)
WAYS = [(form, "auto") for form in FORMS]
if keras.backend.backend() == "jax":
    WAYS.append(("functional", False))  # elsewhere that is what "auto" means on a CPU


@callbacks
@pytest.mark.parametrize(("form", "jit"), WAYS)
def test_callback_leaves_training_alone(entry, form, jit):
    watched = trained(model_of(plain_layer(), form), jit=jit, callbacks=[entry.make()])
    assert_same_weights(watched, reference(form=form, jit=jit), rtol=0, atol=0)


@callbacks
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_callback_under_mixed_precision(entry, policy):
    keras.config.set_dtype_policy(policy)
    callback = entry.make()
    model = trained(model_of(plain_layer()), callbacks=[callback])
    assert callback.history["update"][-1] == updates(model.optimizer) > 0
    assert np.isfinite(keras.tree.flatten(callback.history)).all()


@callbacks
def test_callback_counts_updates_under_accumulation(entry):
    callback = entry.make()
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=4)
    trained(model_of(plain_layer()), optimizer, batch=BATCH // 4, callbacks=[callback])
    assert callback.history["update"] == [1, 2, 3, 4, 5, 6, 7, 8]


@callbacks
def test_callback_that_has_run_can_be_copied(entry):
    callback = entry.make()
    trained(model_of(plain_layer()), callbacks=[callback])
    copies = [pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)]
    for again in copies:
        assert repr(again.history) == repr(callback.history)  # a NaN is not equal to itself
        assert again.model is None
    trained(model_of(plain_layer()), callbacks=copies[:1])
    assert copies[0].history["update"] == callback.history["update"]
