"""Sharpness of quadratics beside their closed form, in the full space and in subspaces."""

import dataclasses
import sys

import keras
import numpy as np
import pytest

from keras_bigbatch._numerics.box_maximizer import MAXIMIZERS
from keras_bigbatch.diagnostics import _random_subspace, sharpness
from tests.diagnostics.models import (
    X,
    Y,
    dense,
    everything_of,
    flat_weights,
    normalized,
    numpy_gradient,
    two_headed,
    two_headed_data,
)
from tests.diagnostics.test_box_maximizer import corners
from tests.diagnostics.test_random_subspace import matrix_of, peak_bytes

BOTH = tuple(MAXIMIZERS)


class Quadratic:
    """`mean((x @ (w - target))^2)`, which a linear layer computes, and its exact sharpness."""

    def __init__(self, x, weights, target):
        self.x, self.weights, self.target = (
            np.asarray(part, np.float32) for part in (x, weights, target)
        )
        self.y = self.x.astype("float64") @ self.target

    def model(self):
        size = len(self.weights)
        model = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1, use_bias=False)])
        model.set_weights([self.weights[:, None]])
        model.compile("sgd", "mse")
        return model

    def loss(self, points, share=1.0):
        """In float64, of points in rows."""
        error = (points - self.target.astype("float64")) @ self.x.astype("float64").T
        return np.mean(share * error**2, axis=1)

    def exact(self, bounds, directions=None, share=1.0):
        at_corners = corners(bounds)
        moves = at_corners if directions is None else at_corners @ directions.T
        loss = self.loss(self.weights[None], share)[0]
        return loss, self.loss(self.weights + moves, share).max()

    def measured(self, *args, **options):
        return sharpness(self.model(), self.x, self.y, *args, **options)


def random_quadratic(size, seed, at_minimum=False, samples=20):
    rng = np.random.default_rng(seed)
    target = rng.normal(size=size)
    weights = target + (0 if at_minimum else 0.01) * rng.normal(size=size)
    return Quadratic(rng.normal(size=(samples, size)), weights, target)


def check(found, loss, max_loss, within=0.01):
    exact = 100 * (max_loss - loss) / (1 + loss)
    assert found.loss == pytest.approx(loss, rel=1e-5, abs=1e-10)
    assert found.value == pytest.approx(exact, rel=within)
    assert found.value == pytest.approx(100 * (found.max_loss - found.loss) / (1 + found.loss))


# --- quadratics ------------------------------------------------------------------------------


@pytest.mark.parametrize("maximizer", ["both", *BOTH])
@pytest.mark.parametrize("epsilon", [1e-3, 5e-4])
def test_diagonal_quadratic(epsilon, maximizer):
    curvature = np.array([100.0, 10.0, 3.0, 1.0, 0.1, 0.01, 5.0])
    weights = np.array([1.0, -2.0, 0.5, 0.0, 3.0, -1.0, 0.1])
    problem = Quadratic(np.diag(np.sqrt(7 * curvature)), weights, weights)
    box = epsilon * (np.abs(weights) + 1)
    found = problem.measured(epsilon, maximizer=maximizer)
    check(found, 0.0, curvature @ box**2, within=1e-3)
    assert found.converged
    assert found.passes < 60
    distance = np.linspace(-0.01, 0.02, 7)
    off = Quadratic(problem.x, weights + distance, weights)
    box = epsilon * (np.abs(weights + distance) + 1)
    loss = curvature @ distance**2
    check(
        off.measured(epsilon, maximizer=maximizer),
        loss,
        curvature @ (np.abs(distance) + box) ** 2,
        within=5e-3,
    )


@pytest.mark.parametrize("seed", range(4))
def test_random_quadratics(seed):
    problem = random_quadratic(9, seed, at_minimum=seed % 2 == 0)
    exact = problem.exact(1e-3 * (np.abs(problem.weights) + 1))
    check(problem.measured(starts=5, max_iterations=300), *exact)


@pytest.mark.parametrize("seed", range(2))
def test_random_quadratics_in_a_subspace(seed):
    problem = random_quadratic(60, seed, samples=80)
    a = matrix_of(60, 7, seed)
    box = 1e-3 * (np.abs(np.linalg.pinv(a) @ problem.weights) + 1)
    found = problem.measured(subspace=7, seed=seed, starts=5, max_iterations=300)
    check(found, *problem.exact(box, a))


def test_a_subspace_of_all_dimensions():
    problem = random_quadratic(6, 1)
    a = matrix_of(6, 6)
    box = 1e-3 * (np.abs(np.linalg.solve(a, problem.weights)) + 1)
    found = problem.measured(subspace=6, starts=5, max_iterations=300)
    check(found, *problem.exact(box, a))


@pytest.mark.parametrize("subspace", [None, 6])
def test_adaptive_box_is_that_of_the_weights(subspace):
    problem = random_quadratic(8, 2)
    problem.weights[3] = 0
    size = np.abs(problem.weights)
    if subspace is None:
        exact = problem.exact(5e-3 * size)
    else:
        a = size[:, None] * matrix_of(8, subspace)
        exact = problem.exact(np.full(subspace, 5e-3), a)
    options = {"adaptive": True, "subspace": subspace, "starts": 5, "max_iterations": 300}
    check(problem.measured(5e-3, **options), *exact)


@pytest.mark.parametrize("subspace", [None, 5])
def test_adaptive_sharpness_does_not_see_a_rescaling(subspace):
    model = dense(6)
    model.layers[0].activation = keras.activations.relu
    options = {"subspace": subspace, "maximizer": "ascent", "max_iterations": 40}

    def measured():
        return [sharpness(model, X, Y, adaptive=adaptive, **options) for adaptive in (True, False)]

    adaptive, plain = measured()
    first, first_bias, last, last_bias = model.get_weights()
    model.set_weights([8 * first, 8 * first_bias, last / 8, last_bias])
    scaled_adaptive, scaled_plain = measured()
    assert scaled_adaptive.loss == pytest.approx(adaptive.loss, rel=1e-6)
    assert scaled_adaptive.value == pytest.approx(adaptive.value, rel=1e-3)
    assert abs(scaled_plain.value / plain.value - 1) > 0.1


@pytest.mark.parametrize("maximizer", BOTH)
def test_very_flat_minima_are_searched_as_far(maximizer):
    """Ten plain L-BFGS-B iterations stop at a small part of the maximum there."""
    problem = random_quadratic(9, 5, at_minimum=True)
    options = {"maximizer": maximizer, "starts": 2, "max_iterations": 20}
    steep = problem.measured(**options)
    problem.x, problem.y = problem.x * 2**-13, problem.y * 2**-13
    flat = problem.measured(**options)
    assert 2**26 * flat.max_loss == pytest.approx(steep.max_loss, rel=1e-4)


def test_a_network_beside_a_search_in_numpy():
    model = dense()
    model.fit(X, Y, epochs=20, batch_size=10, verbose=0)
    weights = flat_weights(model)
    box = 1e-2 * (np.abs(weights) + 1)
    rng = np.random.default_rng(0)
    best = 0.0
    for _ in range(30):
        move = rng.uniform(-box, box)
        for _ in range(30):
            gradient = numpy_gradient(weights + move)[1]
            move = box * np.sign(gradient)
        best = max(best, numpy_gradient(weights + move)[0])
    loss = numpy_gradient(weights)[0]
    found = sharpness(model, X, Y, 1e-2, batch_size=16)
    check(found, loss, best)
    assert max(max(losses) for losses in found.found.values()) == found.max_loss
    assert len(found.found["ascent"]) >= 1 <= len(found.found["l-bfgs-b"])


# --- models, data and arguments ------------------------------------------------------------------


def test_memory_of_sharpness_in_a_subspace(monkeypatch):
    monkeypatch.setattr(_random_subspace, "KEPT_BYTES", 2**22)
    monkeypatch.setattr(_random_subspace, "BLOCK_BYTES", 2**20)
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


def test_sample_weights():
    problem = random_quadratic(8, 3)
    share = np.random.default_rng(0).uniform(0, 3, 20)
    exact = problem.exact(1e-3 * (np.abs(problem.weights) + 1), share=share)
    found = problem.measured(sample_weight=share, batch_size=6, starts=5, max_iterations=300)
    check(found, *exact)


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
        ({"subspace": 87}, "subspace=87 for a model of 86"),
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
