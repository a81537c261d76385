"""Sharpness of quadratics beside their closed form, in the full space and in subspaces."""

import keras
import numpy as np
import pytest

from keras_bigbatch._numerics.box_maximizer import MAXIMIZERS
from keras_bigbatch.diagnostics import sharpness
from tests.diagnostics.models import (
    X,
    Y,
    dense,
    flat_weights,
    numpy_gradient,
)
from tests.diagnostics.test_box_maximizer import corners
from tests.diagnostics.test_random_subspace import matrix_of

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


def test_sample_weights():
    problem = random_quadratic(8, 3)
    share = np.random.default_rng(0).uniform(0, 3, 20)
    exact = problem.exact(1e-3 * (np.abs(problem.weights) + 1), share=share)
    found = problem.measured(sample_weight=share, batch_size=6, starts=5, max_iterations=300)
    check(found, *exact)
