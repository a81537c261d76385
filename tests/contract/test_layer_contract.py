"""What holds for every layer of `registry.py`: files, clones, forms, precision, accumulation."""

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
    predicted,
    reference,
    refitted,
    trained,
)

layers = pytest.mark.parametrize("entry", registry.LAYERS, ids=str)


@layers
@pytest.mark.parametrize("form", FORMS)
# Keras 3.10 warns of any Functional model that was loaded and is called on one array.
@pytest.mark.filterwarnings("ignore:[^.]*The structure of `inputs` doesn't match")
def test_layer_comes_back_from_a_file_and_is_cloned(entry, form, tmp_path):
    model = trained(model_of(entry.make(), form))
    x, _ = data(5)
    if form != "subclassed":  # which Keras does not clone
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        np.testing.assert_array_equal(predicted(clone, x), predicted(model, x))
        assert clone.layers[-2].get_config() == model.layers[-2].get_config()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_weights(model, loaded, rtol=0, atol=0)
    np.testing.assert_array_equal(predicted(loaded, x), predicted(model, x))
    # The optimizer came back too: training goes on as if nothing had happened.
    assert_same_weights(refitted(model), refitted(loaded), **CLOSE)


@layers
@pytest.mark.parametrize("jit", JIT)
def test_layer_trains_alike_in_all_forms(entry, jit):
    expected = reference(entry.make)
    before = model_of(entry.make())
    for variable, start, end in zip(
        before.weights, before.get_weights(), expected.weights, strict=True
    ):
        assert np.abs(end - start).max() > 1e-4, f"{variable.path} has not moved"
    x, _ = data()
    for form in FORMS:
        if (form, jit) != ("sequential", AUTO_JIT):  # that is the reference
            model = trained(model_of(entry.make(), form), jit=jit)
            assert model.jit_compile is jit
            np.testing.assert_allclose(predicted(model, x), expected.predictions, **CLOSE)


@layers
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_layer_under_mixed_precision(entry, policy):
    full = reference(entry.make)
    keras.config.set_dtype_policy(policy)
    mixed = model_of(entry.make())
    layer = mixed.layers[1]
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} <= {"float32"}
    outputs = layer(np.ones((BATCH, 6), "float32"), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    # The default scale overflows float16 here, and such a step is skipped: another training.
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=16)
    mixed = trained(model_of(entry.make()), optimizer)
    # Two or three digits are what bfloat16 has.
    x, _ = data()
    assert np.abs(predicted(mixed, x) - full.predictions).max() < 0.1


@layers
def test_layer_accumulates_as_one_large_batch(entry):
    if entry.cls in registry.DRAW_FROM_THE_BATCH:
        pytest.skip("its tests hold the micro-batches against the oracle")
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    accumulated = trained(model_of(entry.make()), optimizer, batch=BATCH // 2)
    assert_same_weights(accumulated, reference(entry.make), **CLOSE)
