"""Sharpness of any model and any data, and what it refuses."""

import dataclasses
import sys

import keras
import numpy as np
import pytest

from keras_bigbatch._numerics import random_subspace
from keras_bigbatch.diagnostics import sharpness
from tests.diagnostics.models import (
    X,
    Y,
    dense,
    everything_of,
    normalized,
    two_headed,
    two_headed_data,
)
from tests.diagnostics.test_random_subspace import peak_bytes


def test_memory_of_sharpness_in_a_subspace(monkeypatch):
    monkeypatch.setattr(random_subspace, "KEPT_BYTES", 2**22)
    monkeypatch.setattr(random_subspace, "BLOCK_BYTES", 2**20)
    x = np.random.default_rng(0).normal(size=(32, 1000)).astype("float32")
    model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(200, use_bias=False)])
    model.compile("sgd", "mse")
    y = np.zeros((32, 200), "float32")
    found = []
    used = peak_bytes(
        lambda: found.append(sharpness(model, x, y, subspace=60, starts=1, max_iterations=4))
    )
    assert found[0].value > 0
    assert used < 16e6 < 4 * 200_000 * 60 / 2


@pytest.mark.parametrize(("mode", "subspace"), [("inference", None), ("training", 3)])
def test_model_stays_as_it_was(mode, subspace):
    model = normalized()
    model.fit(X, Y, verbose=0)
    before = everything_of(model)
    found = sharpness(model, X, Y, subspace=subspace, mode=mode, max_iterations=12, batch_size=25)
    assert found.value > 0
    assert everything_of(model) == before
    evaluated = model.evaluate(X, Y, batch_size=25, verbose=0, return_dict=True)["loss"]
    assert (found.loss == pytest.approx(evaluated, rel=1e-5)) == (mode == "inference")


def test_model_stays_as_it_was_after_an_error():
    model = dense()
    before = everything_of(model)
    with pytest.raises(ValueError, match="not finite in the box"):
        sharpness(model, X, Y, epsilon=1e30)
    assert everything_of(model) == before


class Pieces(keras.utils.PyDataset):
    def __init__(self, x, y, size=17):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        return self.x[rows], self.y[rows]


def test_data_sets_and_dictionaries():
    model = dense()
    options = {"subspace": 4, "max_iterations": 12}
    arrays = sharpness(model, X, Y, batch_size=17, **options)
    again = sharpness(model, X, Y, batch_size=17, **options)
    stream = sharpness(model, Pieces(X, Y), **options)
    assert arrays == again
    assert stream.value == pytest.approx(arrays.value, rel=1e-4)
    assert sharpness(model, X, Y, seed=1, **options) != arrays
    x, y = two_headed_data()
    assert sharpness(two_headed(), x, y, **options).value > 0


def linear(weight):
    """`loss = weight`: the mean of a line's values at ones."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.set_weights([np.array([[weight]], "float32")])
    model.compile("sgd", lambda y_true, y_pred: keras.ops.mean(y_pred, axis=-1))
    return model, np.ones((4, 1)), np.ones((4, 1))


def test_negative_losses():
    found = sharpness(*linear(-0.5), epsilon=0.1)
    assert found.value == pytest.approx(100 * 0.1 * 1.5 / 0.5, rel=1e-4)
    with pytest.raises(ValueError, match="above -1"):
        sharpness(*linear(-1.5))


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        sharpness(dense(), X * np.float32(np.nan), Y)


def test_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    for maximizer in ("both", "l-bfgs-b"):
        with pytest.raises(ImportError, match="pip install scipy"):
            sharpness(dense(), X, Y, maximizer=maximizer)
    found = sharpness(dense(), X, Y, maximizer="ascent", max_iterations=6)
    assert list(found.found) == ["ascent"]


def test_progress_and_table(capsys):
    found = sharpness(dense(), X, Y, starts=1, max_iterations=4)
    assert capsys.readouterr().out == ""
    assert sharpness(dense(), X, Y, starts=1, max_iterations=4, verbose=1) == found
    assert f"{found.passes}/5" in capsys.readouterr().out
    text = str(dataclasses.replace(found, converged=False, value=1.5))
    assert text.startswith("sharpness 1.5 % or more")
    assert f"starts do not agree after {found.passes} passes" in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"subspace": 0}, "`subspace` must be a positive integer"),
        ({"subspace": 87}, "subspace=87 for a model with 86"),
        ({"adaptive": 1}, "adaptive"),
        ({"mode": "test"}, "mode"),
        ({"maximizer": "bfgs"}, "'both', 'ascent', 'l-bfgs-b'"),
        ({"starts": 0}, "starts"),
        ({"max_iterations": 11}, "at least 12"),
        ({"max_iterations": 3, "maximizer": "ascent", "starts": 2}, "at least 4"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        sharpness(dense(), X, Y, **options)
