"""LARS: against optax, against the paper in NumPy, and the ratio's properties."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch.optimizers import LARS
from tests.optimizers.steps import (
    assert_close,
    oracle,
    stepped,
    variables_of,
    weights_and_gradients,
)

# That the weights grow is the subject of `test_growth.py`.
pytestmark = pytest.mark.filterwarnings("ignore:LARS without weight decay")
both = pytest.mark.parametrize("nesterov", [False, True], ids=["heavy-ball", "nesterov"])


def norm(x):
    return np.sqrt(np.sum(np.square(x)))


@both
@pytest.mark.parametrize("weight_decay", [0.0, 0.05])
def test_equals_optax(nesterov, weight_decay):
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    weights, gradients = weights_and_gradients(10)
    options = {"momentum": 0.9, "nesterov": nesterov, "trust_coefficient": 0.02}
    adapts = {path: path != "dense/bias" for path in weights}
    theirs = optax.lars(
        0.7,
        weight_decay=weight_decay,
        weight_decay_mask=adapts,
        trust_ratio_mask=adapts,
        **options,
    )
    parameters = {path: jax.numpy.asarray(value) for path, value in weights.items()}
    state = theirs.init(parameters)
    for each in gradients:
        updates, state = theirs.update(each, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    ours = LARS(0.7, weight_decay=weight_decay, denominator="decayed_gradient", **options)
    found = stepped(ours, weights, gradients)
    assert_close(found, {path: np.asarray(value) for path, value in parameters.items()})
    assert np.abs(found["dense/kernel"] - weights["dense/kernel"]).max() > 0.1


@both
@pytest.mark.parametrize("rate_in_momentum", [True, False])
@pytest.mark.parametrize("denominator", ["sum", "gradient", "decayed_gradient"])
def test_equals_the_formula(nesterov, rate_in_momentum, denominator):
    decay = 0.05

    def ratio(w, g):
        divisor = {
            "sum": norm(g) + decay * norm(w),
            "gradient": norm(g),
            "decayed_gradient": norm(g + decay * w),
        }
        return 0.02 * norm(w) / divisor[denominator]

    weights, gradients = weights_and_gradients(10)
    shared = {
        "learning_rate": 0.7,
        "momentum": 0.9,
        "weight_decay": decay,
        "nesterov": nesterov,
        "rate_in_momentum": rate_in_momentum,
    }
    ours = LARS(trust_coefficient=0.02, denominator=denominator, **shared)
    assert_close(stepped(ours, weights, gradients), oracle(ratio, weights, gradients, **shared))


def test_the_denominators_and_orders_differ():
    """Otherwise the test above could not tell them apart."""
    weights, gradients = weights_and_gradients(10)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([4], [0.7, 0.07])
    results = [
        stepped(
            LARS(schedule, weight_decay=0.05, trust_coefficient=0.02, **changes), weights, gradients
        )["dense/kernel"]
        for changes in (
            {},
            {"denominator": "gradient"},
            {"denominator": "decayed_gradient"},
            {"rate_in_momentum": False},
            {"nesterov": True},
        )
    ]
    for i, one in enumerate(results):
        for other in results[:i]:
            assert np.abs(one - other).max() > 1e-4


def test_rate_in_momentum_says_when_a_drop_acts():
    """After a drop to rate 0 the velocity goes on, or all stands still."""
    weights, gradients = weights_and_gradients(3)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.0])
    first = stepped(LARS(schedule), weights, gradients[:1])["dense/kernel"]
    inside = stepped(LARS(schedule), weights, gradients)["dense/kernel"]
    outside = stepped(LARS(schedule, rate_in_momentum=False), weights, gradients)["dense/kernel"]
    moved = first - weights["dense/kernel"]
    np.testing.assert_allclose(inside - first, moved * (0.9 + 0.81), rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(outside, first)


def test_plain_sgd_where_nothing_adapts():
    weights, gradients = weights_and_gradients(5)
    for nesterov in (False, True):
        sgd = keras.optimizers.SGD(0.1, momentum=0.8, nesterov=nesterov)
        expected = stepped(sgd, weights, gradients)
        for inside in (True, False):
            ours = LARS(0.1, 0.8, nesterov=nesterov, exclude=("",), rate_in_momentum=inside)
            assert_close(stepped(ours, weights, gradients), expected)
            assert ours.trust_ratios == {}


scales = st.floats(1e-3, 1e3)
seeds = st.integers(0, 10_000)


def step_of(optimizer, weight, gradient):
    return stepped(optimizer, {"a/kernel": weight}, [{"a/kernel": gradient}])["a/kernel"] - weight


def layer(seed, shape=(6, 4)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32"), rng.normal(size=shape).astype("float32")


@settings(max_examples=20, deadline=None)
@given(seeds, scales)
def test_the_gradients_size_does_not_matter(seed, scale):
    weight, gradient = layer(seed)
    optimizer = {"learning_rate": 2.0, "trust_coefficient": 0.01, "momentum": 0.0}
    expected = step_of(LARS(**optimizer), weight, gradient)
    found = step_of(LARS(**optimizer), weight, gradient * np.float32(scale))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seeds, scales, st.floats(0.01, 3), st.sampled_from([1e-3, 1e-2]))
def test_the_relative_step_is_the_rate(seed, scale, rate, coefficient):
    weight, gradient = layer(seed)
    weight = weight * np.float32(scale)
    optimizer = LARS(rate, 0.0, coefficient)
    step = step_of(optimizer, weight, gradient)
    np.testing.assert_allclose(norm(step) / norm(weight), rate * coefficient, rtol=5e-3)
    cosine = np.sum(step * gradient) / norm(step) / norm(gradient)
    np.testing.assert_allclose(cosine, -1, rtol=5e-3)


@pytest.mark.filterwarnings("ignore:.*on variables that start at zero")
@pytest.mark.parametrize("denominator", ["sum", "gradient", "decayed_gradient"])
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_zeros_move_with_ratio_one(denominator, decay, zero):
    weight, gradient = layer(3)
    if zero == "weight":
        weight *= 0
    else:
        gradient *= 0
    optimizer = LARS(0.5, 0.0, weight_decay=decay, denominator=denominator)
    step = step_of(optimizer, weight, gradient)
    if zero == "gradient" and denominator == "decayed_gradient" and decay:
        # As in optax: it is the norm of the denominator that must not be zero.
        np.testing.assert_allclose(step, -0.5 * 0.001 * weight, rtol=1e-3)
        return
    np.testing.assert_allclose(step, -0.5 * (gradient + decay * weight), rtol=1e-4, atol=1e-7)
    assert optimizer.trust_ratios == {"a/kernel": 1.0}


def test_norm_of_a_large_variable():
    """Float32 sums must not drift: 4 million values whose squares sum to a known number."""
    weight = np.full((2000, 2000), 0.1, "float32")
    gradient = np.full((2000, 2000), 0.3, "float32")
    optimizer = LARS(1.0, 0.0, trust_coefficient=1e-3)
    variables = variables_of({"a/kernel": weight})
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], variables)
    np.testing.assert_allclose(optimizer.trust_ratios["a/kernel"], 1e-3 / 3, rtol=1e-4)


def test_bad_denominator_says_what_is_allowed():
    with pytest.raises(ValueError, match="'sum', 'gradient', 'decayed_gradient'"):
        LARS(denominator="weights")
