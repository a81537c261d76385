"""What holds for every optimizer of `registry.py`: files, jit, precision, accumulation, rates."""

import keras
import numpy as np
import pytest

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
    predicted,
    reference,
    refitted,
    trained,
    updates,
)

optimizers = pytest.mark.parametrize("entry", registry.OPTIMIZERS, ids=str)


@optimizers
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.filterwarnings("ignore:[^.]*The structure of `inputs` doesn't match")
def test_optimizer_comes_back_from_a_file_with_its_state(entry, form, tmp_path):
    model = trained(model_of(plain_layer(), form), entry.make())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is entry.cls
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    state = zip(model.optimizer.variables, loaded.optimizer.variables, strict=True)
    for variable, other in state:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (variable, other)))
    assert_same_weights(refitted(model), refitted(loaded), **CLOSE)


@optimizers
@pytest.mark.parametrize("jit", JIT)
def test_optimizer_trains_alike_with_and_without_jit(entry, jit):
    expected = reference(optimizer=entry.make)
    if jit is AUTO_JIT:  # that is the reference
        start = model_of(plain_layer()).get_weights()
        assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(expected.weights, start, strict=True))
        return
    model = trained(model_of(plain_layer()), entry.make(), jit=jit)
    assert model.jit_compile is jit
    assert_same_weights(model, expected, **CLOSE)


@optimizers
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_optimizer_under_mixed_precision(entry, policy):
    full = reference(optimizer=entry.make)
    keras.config.set_dtype_policy(policy)
    optimizer = entry.make()
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=16)
    mixed = trained(model_of(plain_layer()), optimizer)
    x, _ = data()
    assert np.abs(predicted(mixed, x) - full.predictions).max() < 0.1


@optimizers
def test_optimizer_accumulates_as_one_large_batch(entry):
    whole = reference(optimizer=entry.make)
    accumulating = entry.make(gradient_accumulation_steps=2)
    accumulated = trained(model_of(plain_layer()), accumulating, batch=BATCH // 2)
    assert_same_weights(accumulated, whole, rtol=1e-3, atol=1e-4)
    assert updates(accumulating) == whole.updates == 8


@optimizers
def test_optimizer_takes_a_schedule(entry):
    drop = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.05, 0.0])
    model = trained(model_of(plain_layer()), entry.make(learning_rate=drop))
    assert float(model.optimizer.learning_rate) == 0.0
    assert updates(model.optimizer) == 8
