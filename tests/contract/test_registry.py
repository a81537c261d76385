"""What holds for every public class of `registry.py`: registered, configurable, complete."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from tests import registry
from tests.problems import predicted

saved = pytest.mark.parametrize(
    "entry", registry.LAYERS + registry.SCHEDULES + registry.OPTIMIZERS, ids=str
)
records = pytest.mark.parametrize("cls", registry.RECORDS, ids=lambda cls: cls.__name__)


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


@records
def test_record_is_plain_frozen_and_printable(cls):
    record = registry.RECORDS[cls]()
    assert type(record) is cls
    first = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, first, None)
    assert len(str(record)) > 20
    assert "object at 0x" not in str(record)


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
