"""What messages say was received, and names that are looked for in the wrong place."""

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch._arguments import shown


def test_arrays_are_not_printed():
    x = np.arange(1000.0).reshape(100, 10)
    message = r"Received: examples=ndarray of shape \(100, 10\)\. It counts samples: `len\(x\)`\."
    with pytest.raises(ValueError, match=message):
        kbb.Regime(batch=10, epochs=1, examples=x, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"virtual_batch=ndarray of shape \(100, 10\)"):
        kbb.GhostBatchNormalization(x)
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        kbb.GhostBatchNormalization(keras.ops.ones((2, 3)))


@pytest.mark.parametrize("value", [32.5, "32", None, True, [32], {"batch": 32}, np.float32(0.5)])
def test_other_values_are_printed_as_they_are(value):
    assert shown(value) == repr(value)


def test_long_lists_are_cut():
    assert len(shown(list(range(1000)))) < 100
    assert shown([[0.1] * 20] * 20) == "[[...], [...], [...], [...], [...], [...], ...]"
    assert len(shown({"a": np.zeros((100, 10)), "b": np.zeros((100, 10))})) < 100


def test_a_class_in_the_place_of_an_array():
    assert shown(np.ndarray) == repr(np.ndarray)


def test_a_switch_that_is_not_a_boolean():
    with pytest.raises(ValueError, match=r"`drop_remainder` must be True or False.*'no'"):
        kbb.Regime(10, 1, 100, 0.1, drop_remainder="no")


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("LARS", "optimizers"),
        ("to_ghost", "layers"),
        ("GradientNoiseScale", "callbacks"),
        ("sharpness", "diagnostics"),
        ("scale_learning_rate", "schedules"),
    ],
)
def test_names_of_the_namespaces(name, where):
    with pytest.raises(AttributeError, match=rf"It is `keras_bigbatch\.{where}\.{name}`"):
        getattr(kbb, name)


def test_names_that_are_nowhere():
    with pytest.raises(AttributeError, match=r"has no attribute 'Lars'$"):
        kbb.Lars  # noqa: B018
    # Python says "Did you mean: 'GhostBatchNormalization'?" where it knows whose the name is.
    with pytest.raises(AttributeError) as caught:
        kbb.GhostBatchNormalisation  # noqa: B018
    assert (caught.value.name, caught.value.obj) == ("GhostBatchNormalisation", kbb)
