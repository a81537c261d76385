"""MCLR, PercentDelta and CBLR: the formulas in NumPy, LARS side by side, and properties."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch.optimizers import CBLR, LARS, MCLR, PercentDelta
from tests.optimizers.steps import assert_close, oracle, stepped, weights_and_gradients

pytestmark = pytest.mark.filterwarnings("ignore:.*without weight decay")
DECAY = 0.05


def median_ratio(w, g, decay):
    size = np.median(np.abs(w))
    return size / (np.median(np.abs(g)) + decay * size)


def percent_ratio(w, g, decay):
    return 1 / (np.mean(np.abs(g / w)) + decay)


def curvature_ratio(w, g, decay):
    return np.abs(w) / (np.abs(g) + decay * np.abs(w))


RULES = [(MCLR, median_ratio), (PercentDelta, percent_ratio), (CBLR, curvature_ratio)]
rules = pytest.mark.parametrize(("cls", "ratio"), RULES, ids=lambda each: each.__name__)


@rules
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rate_in_momentum", [True, False])
def test_equals_the_formula(cls, ratio, nesterov, rate_in_momentum):
    weights, gradients = weights_and_gradients(10, seed=1)
    shared = {
        "learning_rate": 0.7,
        "momentum": 0.9,
        "weight_decay": DECAY,
        "nesterov": nesterov,
        "rate_in_momentum": rate_in_momentum,
    }
    found = stepped(cls(trust_coefficient=0.02, **shared), weights, gradients)
    expected = oracle(lambda w, g: 0.02 * ratio(w, g, DECAY), weights, gradients, **shared)
    # The rules with quotients divide by small weights, whose rounding they enlarge.
    assert_close(found, expected, rtol=1e-5 if cls is MCLR else 1e-4, atol=1e-5)
    assert np.abs(found["dense/kernel"] - weights["dense/kernel"]).max() > 0.05


@rules
def test_an_odd_number_of_values(cls, ratio):
    weights, gradients = weights_and_gradients(1, seed=2, shapes={"a/kernel": (3, 3)})
    found = stepped(cls(1.0, 0.0, 0.01), weights, gradients)
    expected = oracle(lambda w, g: 0.01 * ratio(w, g, 0.0), weights, gradients, 1.0)
    assert_close(found, expected, rtol=1e-5)


def gaussian_ratios(size, seed, *classes):
    rng = np.random.default_rng(seed)
    weight = {"a/kernel": rng.normal(0, 0.5, size).astype("float32")}
    gradient = {"a/kernel": rng.normal(0, 0.1, size).astype("float32")}
    ratios = {}
    for cls in classes:
        optimizer = cls(1.0, trust_coefficient=1.0)
        stepped(optimizer, weight, [gradient])
        ratios[cls] = optimizer.trust_ratios["a/kernel"]
    return ratios


def test_median_ratio_is_that_of_norms_for_gaussians():
    for seed in range(3):
        ratios = gaussian_ratios(10_000, seed, LARS, MCLR)
        np.testing.assert_allclose(ratios[MCLR], ratios[LARS], rtol=0.03)
        np.testing.assert_allclose(ratios[LARS], 5, rtol=0.03)


def test_percent_delta_falls_with_the_size_as_documented():
    def typical(size):
        ratios = (gaussian_ratios(size, seed, PercentDelta) for seed in range(10))
        return np.median([each[PercentDelta] for each in ratios])

    assert typical(10_000) < typical(100) < 3


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.sampled_from([each for each, _ in RULES]))
def test_the_gradients_size_does_not_matter(seed, scale, cls):
    weights, (gradient,) = weights_and_gradients(1, seed, {"a/kernel": (5, 4)})
    expected = stepped(cls(1.0, 0.0, 0.01), weights, [gradient])["a/kernel"]
    larger = {"a/kernel": gradient["a/kernel"] * np.float32(scale)}
    found = stepped(cls(1.0, 0.0, 0.01), weights, [larger])["a/kernel"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.sampled_from([each for each, _ in RULES]))
def test_the_step_is_in_proportion_to_the_weight(seed, scale, cls):
    weights, gradients = weights_and_gradients(1, seed, {"a/kernel": (5, 4)})
    start = weights["a/kernel"]
    larger = {"a/kernel": start * np.float32(scale)}
    step = stepped(cls(1.0, 0.0, 0.01), weights, gradients)["a/kernel"] - start
    other = stepped(cls(1.0, 0.0, 0.01), larger, gradients)["a/kernel"] - larger["a/kernel"]
    np.testing.assert_allclose(other, scale * step, rtol=2e-2, atol=2e-6 * max(scale, 1))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 0.5))
def test_percent_delta_changes_weights_by_that_percentage(seed, fraction):
    weights, gradients = weights_and_gradients(1, seed, {"a/kernel": (5, 4)})
    start = weights["a/kernel"]
    after = stepped(PercentDelta(1.0, 0.0, fraction), weights, gradients)["a/kernel"]
    np.testing.assert_allclose(np.mean(np.abs(after / start - 1)), fraction, rtol=1e-2)


def test_percent_delta_leaves_zero_weights_out_of_the_mean():
    weight = np.array([[0.0, 2.0, -4.0]], "float32")
    gradient = np.array([[7.0, 1.0, 1.0]], "float32")
    after = stepped(PercentDelta(1.0, 0.0, 0.1), {"a/kernel": weight}, [{"a/kernel": gradient}])[
        "a/kernel"
    ]
    ratio = 2 / (1 / 2 + 1 / 4)
    np.testing.assert_allclose(after, weight - 0.1 * ratio * gradient, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*on variables that start at zero")
@pytest.mark.parametrize("cls", [MCLR, PercentDelta])
@pytest.mark.parametrize("decay", [0.0, DECAY])
@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_zeros_move_with_ratio_one(cls, decay, zero):
    weights, (gradient,) = weights_and_gradients(1, 3, {"a/kernel": (5, 4)})
    (weights if zero == "weight" else gradient)["a/kernel"] *= 0
    after = stepped(cls(0.5, 0.0, weight_decay=decay), weights, [gradient])["a/kernel"]
    expected = weights["a/kernel"] - 0.5 * (gradient["a/kernel"] + decay * weights["a/kernel"])
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.9))
def test_cblr_never_changes_a_sign(seed, fraction):
    weights, gradients = weights_and_gradients(8, seed, {"a/kernel": (5, 4)})
    weights["a/kernel"][0, 0] = 0.0
    start = weights["a/kernel"]
    after = stepped(CBLR(1.0, trust_coefficient=fraction), weights, gradients)["a/kernel"]
    np.testing.assert_array_equal(np.sign(after), np.sign(start))
    assert after[0, 0] == 0
    one = stepped(CBLR(1.0, trust_coefficient=fraction), weights, gradients[:1])["a/kernel"]
    sign = np.sign(gradients[0]["a/kernel"])
    np.testing.assert_allclose(one, start * (1 - fraction * sign * np.sign(start)), rtol=1e-3)


def test_cblr_bears_zero_and_tiny_gradients():
    weight = {"a/kernel": np.array([[1.0, 2.0, 0.0]], "float32")}
    gradient = {"a/kernel": np.array([[0.0, 1e-40, 1.0]], "float32")}
    optimizer = CBLR(1.0, trust_coefficient=0.1)
    after = stepped(optimizer, weight, [gradient])["a/kernel"]
    assert np.isfinite(after).all()
    assert after[0, 0] == 1.0
    assert after[0, 2] == 0.0
    assert np.isfinite(optimizer.trust_ratios["a/kernel"])


def test_cblr_shows_the_norm_of_the_step_over_that_of_the_gradient():
    weights, gradients = weights_and_gradients(1, 5, {"a/kernel": (5, 4)})
    optimizer = CBLR(1.0, trust_coefficient=0.1)
    after = stepped(optimizer, weights, gradients)["a/kernel"]
    moved = np.linalg.norm(after - weights["a/kernel"])
    expected = moved / np.linalg.norm(gradients[0]["a/kernel"])
    np.testing.assert_allclose(optimizer.trust_ratios["a/kernel"], expected, rtol=1e-4)


def test_variables_that_start_from_zeros_are_excluded_by_default():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization()]
    )
    optimizer = CBLR()
    optimizer.build(model.trainable_variables)
    adapting = [v for v in model.trainable_variables if v.path in optimizer.trust_ratios]
    assert [variable.name for variable in adapting] == ["kernel"]
    for variable in adapting:
        assert (keras.ops.convert_to_numpy(variable) != 0).all()
