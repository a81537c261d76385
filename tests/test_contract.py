"""What holds for every public class, whatever it computes: the list is `registry.py`."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from tests import registry
from tests.problems import (
    BATCH,
    FORMS,
    JIT,
    data,
    model_of,
    plain_layer,
    predicted,
    trained,
    updates,
)

# Weights after a few updates, computed in another order: one float32 rounding each.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

layers = pytest.mark.parametrize("entry", registry.LAYERS, ids=str)
schedules = pytest.mark.parametrize("entry", registry.SCHEDULES, ids=str)
callbacks = pytest.mark.parametrize("entry", registry.CALLBACKS, ids=str)
optimizers = pytest.mark.parametrize("entry", registry.OPTIMIZERS, ids=str)
saved = pytest.mark.parametrize(
    "entry", registry.LAYERS + registry.SCHEDULES + registry.OPTIMIZERS, ids=str
)
records = pytest.mark.parametrize("cls", registry.RECORDS, ids=lambda cls: cls.__name__)
compiled = pytest.mark.parametrize("jit", JIT)


def assert_same_weights(model, other, **tolerance):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def rates(schedule, length=30):
    return np.array([float(schedule(update)) for update in range(length)])


# --- everything that is saved ----------------------------------------------------------------


@saved
def test_config_is_json_and_makes_an_equal_object(entry):
    made = entry.make()
    config = made.get_config()
    again = type(made).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    defaults = {"name", "accumulation_steps", "warmup"}
    for argument, value in entry.kwargs.items():
        if argument not in defaults and isinstance(value, int | float | str):
            assert config[argument] == value


@saved
def test_is_registered_under_its_stable_name(entry):
    registered = f"keras_bigbatch>{entry.cls.__name__}"
    assert keras.saving.get_registered_name(entry.cls) == registered
    assert keras.saving.get_registered_object(registered) is entry.cls


@pytest.mark.parametrize("cls", registry.MODELS, ids=lambda cls: cls.__name__)
def test_model_is_registered_and_its_config_is_json(cls):
    registered = f"keras_bigbatch>{cls.__name__}"
    assert keras.saving.get_registered_object(registered) is cls
    model = registry.MODELS[cls]()
    config = json.loads(json.dumps(model.get_config()))
    again = cls.from_config(config)
    assert {**again.get_config(), "model": None} == {**model.get_config(), "model": None}
    again.set_weights(model.get_weights())
    x = np.ones((3, 6), "float32")
    np.testing.assert_array_equal(predicted(again, x), predicted(model, x))


# --- layers ----------------------------------------------------------------------------------


@layers
@pytest.mark.parametrize("form", FORMS)
# Keras 3.10 warns of any Functional model that was loaded and is called on one array.
@pytest.mark.filterwarnings("ignore:[^.]*The structure of `inputs` doesn't match")
def test_layer_comes_back_from_a_file(entry, form, tmp_path):
    model = trained(model_of(entry.make(), form))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_weights(model, loaded, rtol=0, atol=0)
    x, _ = data(5)
    np.testing.assert_array_equal(predicted(loaded, x), predicted(model, x))
    # The optimizer came back too: training goes on as if nothing had happened.
    assert_same_weights(refitted(model), refitted(loaded), **CLOSE)


def refitted(model):
    x, y = data()
    model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return model


@layers
@pytest.mark.parametrize("form", ["sequential", "functional"])
def test_layer_is_cloned(entry, form):
    model = trained(model_of(entry.make(), form))
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x, _ = data(5)
    np.testing.assert_array_equal(predicted(clone, x), predicted(model, x))
    assert clone.layers[-2].get_config() == model.layers[-2].get_config()


@layers
@compiled
def test_layer_trains_alike_in_all_forms(entry, jit):
    reference = trained(model_of(entry.make(), "sequential"))
    before = model_of(entry.make(), "sequential")
    for variable, start in zip(reference.weights, before.get_weights(), strict=True):
        assert np.abs(keras.ops.convert_to_numpy(variable) - start).max() > 1e-4, (
            f"{variable.path} has not moved"
        )
    for form in FORMS:
        model = trained(model_of(entry.make(), form), jit=jit)
        x, _ = data()
        np.testing.assert_allclose(predicted(model, x), predicted(reference, x), **CLOSE)


@layers
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_layer_under_mixed_precision(entry, policy):
    full = trained(model_of(entry.make()))
    keras.config.set_dtype_policy(policy)
    mixed = model_of(entry.make())
    layer = mixed.layers[1]
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} == {"float32"}
    outputs = layer(np.ones((BATCH, 6), "float32"), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == policy.removeprefix("mixed_")
    # The default scale overflows float16 here, and such a step is skipped: another training.
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=16)
    mixed = trained(model_of(entry.make()), optimizer)
    # Two or three digits are what bfloat16 has.
    x, _ = data()
    assert np.abs(predicted(mixed, x) - predicted(full, x)).max() < 0.1


@layers
def test_layer_accumulates_as_one_large_batch(entry):
    whole = trained(model_of(entry.make()))
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2)
    accumulated = trained(model_of(entry.make()), optimizer, batch=BATCH // 2)
    assert_same_weights(whole, accumulated, **CLOSE)


# --- schedules -------------------------------------------------------------------------------


@schedules
@pytest.mark.parametrize(
    ("optimizer_class", "jit"), [(keras.optimizers.SGD, "auto"), (keras.optimizers.Adam, False)]
)
def test_schedule_is_saved_with_its_optimizer(entry, optimizer_class, jit, tmp_path):
    schedule = entry.make()
    assert np.ptp(rates(schedule)) > 0, "a constant rate would prove nothing below"
    model = trained(model_of(plain_layer()), optimizer_class(schedule), jit=jit)
    done = updates(model.optimizer)
    assert done == 8
    np.testing.assert_allclose(float(model.optimizer.learning_rate), rates(schedule)[done])

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)


@schedules
@compiled
def test_schedule_drives_every_update(entry, jit):
    """SGD without momentum on a loss whose gradient is 1: the weight is minus the sum of rates."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    optimizer = keras.optimizers.SGD(entry.make())
    model.compile(optimizer, loss=lambda _, output: output, jit_compile=jit)
    start = model.get_weights()[0].item()
    ones = np.ones((20, 1), "float32")
    model.fit(ones, ones, batch_size=1, epochs=1, verbose=0)
    moved = start - model.get_weights()[0].item()
    np.testing.assert_allclose(moved, rates(entry.make(), 20).sum(), rtol=1e-5)


@schedules
def test_schedule_counts_updates_under_accumulation(entry):
    plain, accumulating = entry.make(), entry.make(accumulation_steps=3)
    optimizer = keras.optimizers.SGD(accumulating, gradient_accumulation_steps=3)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer, loss=lambda _, output: output)
    start = model.get_weights()[0].item()
    ones = np.ones((60, 1), "float32")
    model.fit(ones, ones, batch_size=1, epochs=1, verbose=0)
    assert updates(optimizer) == 20
    moved = start - model.get_weights()[0].item()
    np.testing.assert_allclose(moved, rates(plain, 20).sum(), rtol=1e-5)


@schedules
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_schedule_is_not_rounded_under_mixed_precision(entry, policy):
    expected = rates(entry.make())
    keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(rates(entry.make()), expected)
    assert keras.backend.standardize_dtype(entry.make()(3).dtype) == "float32"


# --- callbacks -------------------------------------------------------------------------------


@callbacks
@pytest.mark.parametrize(
    ("form", "jit"), [*((form, "auto") for form in FORMS), ("functional", False)]
)
def test_callback_leaves_training_alone(entry, form, jit):
    without = trained(model_of(plain_layer(), form), jit=jit)
    watched = trained(model_of(plain_layer(), form), jit=jit, callbacks=[entry.make()])
    assert_same_weights(watched, without, rtol=0, atol=0)


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


# --- optimizers ------------------------------------------------------------------------------


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
@compiled
def test_optimizer_trains_alike_with_and_without_jit(entry, jit):
    start = model_of(plain_layer()).get_weights()
    reference = trained(model_of(plain_layer()), entry.make())
    assert all(
        np.abs(a - b).max() > 1e-4 for a, b in zip(reference.get_weights(), start, strict=True)
    )
    assert_same_weights(trained(model_of(plain_layer()), entry.make(), jit=jit), reference, **CLOSE)


@optimizers
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_optimizer_under_mixed_precision(entry, policy):
    full = trained(model_of(plain_layer()), entry.make())
    keras.config.set_dtype_policy(policy)
    optimizer = entry.make()
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=16)
    mixed = trained(model_of(plain_layer()), optimizer)
    x, _ = data()
    assert np.abs(predicted(mixed, x) - predicted(full, x)).max() < 0.1


@optimizers
def test_optimizer_accumulates_as_one_large_batch(entry):
    whole = trained(model_of(plain_layer()), entry.make())
    accumulating = entry.make(gradient_accumulation_steps=2)
    assert_same_weights(
        trained(model_of(plain_layer()), accumulating, batch=BATCH // 2),
        whole,
        rtol=1e-3,
        atol=1e-4,
    )
    assert updates(accumulating) == updates(whole.optimizer) == 8


@optimizers
def test_optimizer_takes_a_schedule(entry):
    drop = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.05, 0.0])
    model = trained(model_of(plain_layer()), entry.make(learning_rate=drop))
    assert float(model.optimizer.learning_rate) == 0.0
    assert updates(model.optimizer) == 8


# --- records ---------------------------------------------------------------------------------


@records
def test_record_is_plain_frozen_and_printable(cls):
    record = registry.RECORDS[cls]()
    assert type(record) is cls
    first = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, first, None)
    assert len(str(record)) > 20
    assert "object at 0x" not in str(record)


# --- all -------------------------------------------------------------------------------------


_NAMESPACES = [getattr(kbb, name) for name in kbb.__all__ if name.islower()]


def test_registry_has_every_public_class():
    public = {
        value
        for namespace in _NAMESPACES
        for value in map(namespace.__dict__.get, namespace.__all__)
        if isinstance(value, type)
    }
    made = {entry.cls for entry in registry.ENTRIES}
    assert public == made | set(registry.RECORDS) | set(registry.MODELS) | registry.ABSTRACT
