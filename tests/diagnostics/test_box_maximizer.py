"""The search for the largest value in a box, on functions whose largest value is known."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch._numerics.box_maximizer import MAXIMIZERS, maximize_in_box

BOTH = tuple(MAXIMIZERS)


def corners(bounds):
    """The points where a convex function may be largest in a box."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=len(bounds)))) * bounds


def maximum_of(function, bounds, maximizers=BOTH, starts=3, max_evaluations=120, seed=0):
    bounds = np.asarray(bounds, float)
    calls = []

    def evaluate(point):
        assert (np.abs(point) <= bounds * (1 + 1e-12)).all()
        calls.append(point)
        return function(point)

    found = maximize_in_box(
        evaluate,
        bounds,
        function(np.zeros(len(bounds)))[0],
        maximizers=maximizers,
        starts=starts,
        max_evaluations=max_evaluations,
        seed=seed,
    )
    assert found.evaluations == len(calls) <= max_evaluations
    assert found.value == max(function(point)[0] for point in calls)
    assert found.value == max(found.found[found.maximizer])
    return found


def convex(seed, size):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(size + 3, size))
    slope = rng.choice([0.0, 1.0]) * rng.normal(size=size)
    hessian = rows.T @ rows
    return lambda z: (slope @ z + z @ hessian @ z / 2, slope + hessian @ z)


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    maximizers=st.sampled_from([BOTH, BOTH[:1], BOTH[1:]]),
    starts=st.integers(1, 4),
)
def test_maximum_is_in_the_box_and_local_at_least(size, seed, maximizers, starts):
    function = convex(seed, size)
    bounds = np.random.default_rng(seed).uniform(0, 2, size)
    bounds[0] *= seed % 2  # a coordinate that must not move
    found = maximum_of(function, bounds, maximizers, starts)
    exact = max(function(corner)[0] for corner in corners(bounds))
    assert 0 <= found.value <= exact * (1 + 1e-9)
    assert all(found.found[name] for name in maximizers)
    if found.converged:
        assert sum(map(len, found.found.values())) >= starts


@pytest.mark.parametrize("maximizers", [BOTH, BOTH[:1]])
def test_maximum_of_convex_functions_is_mostly_the_highest_corner(maximizers):
    missed = 0
    for seed in range(60):
        function = convex(seed, 7)
        bounds = np.random.default_rng(seed).uniform(0.5, 2, 7)
        exact = max(function(corner)[0] for corner in corners(bounds))
        missed += maximum_of(function, bounds, maximizers, 5, 200).value < 0.99 * exact
    assert missed <= 2


@pytest.mark.parametrize("maximizers", [BOTH, BOTH[:1], BOTH[1:]])
def test_maximum_inside_of_the_box(maximizers):
    peak, curvature = np.array([0.3, -0.2, 0.0, 5.0]), np.array([1.0, 2.0, 0.5, 1.0])

    def function(z):
        return -curvature @ (z - peak) ** 2, -2 * curvature * (z - peak)

    found = maximum_of(function, np.ones(4), maximizers)
    at_zero = curvature @ peak**2
    assert found.value + at_zero == pytest.approx(at_zero - 16, rel=1e-2)


def test_a_saddle_needs_no_luck():
    """From zero, and from a start on the ridge's axis, nothing would be found."""

    def function(z):
        return z[0] ** 2 - 3 * z[1] ** 2, np.array([2 * z[0], -6 * z[1]])

    for seed in range(10):
        assert maximum_of(function, [1.0, 1.0], seed=seed).value == pytest.approx(1, rel=1e-2)


def test_search_without_anything_to_find():
    found = maximum_of(lambda z: (2.0, np.zeros(3)), np.ones(3))
    assert (found.value, found.converged, found.evaluations) == (2.0, True, 3)


def test_search_says_when_the_passes_were_too_few():
    found = maximum_of(convex(1, 7), np.ones(7), max_evaluations=12)
    assert found.evaluations == 12
    assert not found.converged
    assert [len(found.found[name]) for name in BOTH] == [3, 3]
