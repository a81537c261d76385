"""What holds for every function of `registry.TRAININGS`, which changes how a model trains."""

import functools
import inspect

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from tests import registry
from tests.problems import (
    AUTO_JIT,
    BATCH,
    CLOSE,
    FORMS,
    JIT,
    assert_same_weights,
    data,
    model_of,
    plain_layer,
    refitted,
    trained,
)

functions = pytest.mark.parametrize("function", registry.TRAININGS, ids=lambda f: f.__name__)


def changed(function, form="sequential"):
    return function(model_of(plain_layer(), form), **registry.TRAININGS[function])


@functools.cache
def weights(function):
    return trained(changed(function)).get_weights()


def assert_trains_alike(function, model):
    for one, other in zip(model.get_weights(), weights(function), strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


def test_registry_has_every_function_that_takes_a_model_to_train():
    public = map(kbb.training.__dict__.get, kbb.training.__all__)
    takes_a_model = [
        each
        for each in public
        if inspect.isfunction(each)
        and inspect.signature(each).return_annotation in (keras.Model, "keras.Model")
    ]
    assert takes_a_model == list(registry.TRAININGS)


@functions
@pytest.mark.parametrize("form", FORMS[1:])
def test_trains_alike_in_all_forms_and_goes_on_from_a_file(function, form, tmp_path):
    model = trained(changed(function, form))
    assert_trains_alike(function, model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_weights(refitted(model), refitted(loaded), **CLOSE)


@functions
@pytest.mark.parametrize("jit", JIT)
def test_trains_alike_compiled_or_not(function, jit):
    if jit is not AUTO_JIT:  # that is the one to compare with
        assert_trains_alike(function, trained(changed(function), jit=jit))


@functions
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_trains_in_mixed_precision(function, policy):
    start = model_of(plain_layer()).get_weights()
    keras.config.set_dtype_policy(policy)
    model = trained(changed(function))
    for before, after in zip(start, model.get_weights(), strict=True):
        assert np.isfinite(after).all()
        assert np.abs(after - before).max() > 1e-4


@functions
def test_trains_with_a_schedule_accumulation_and_last_batches_of_all_sizes(function):
    rate = keras.optimizers.schedules.CosineDecay(0.05, 20)
    model = changed(function)
    model.compile(keras.optimizers.SGD(rate, gradient_accumulation_steps=2), "mse")
    x, y = data(BATCH + 5)
    losses = model.fit(x, y, batch_size=BATCH // 2, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
