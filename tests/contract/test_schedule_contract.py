"""What holds for every schedule of `registry.py`: files, updates, accumulation, precision."""

import keras
import numpy as np
import pytest

from tests import registry
from tests.problems import JIT, model_of, plain_layer, trained, updates

schedules = pytest.mark.parametrize("entry", registry.SCHEDULES, ids=str)


def rates(schedule, length=30):
    return np.array([float(schedule(update)) for update in range(length)])


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
@pytest.mark.parametrize("jit", JIT)
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
