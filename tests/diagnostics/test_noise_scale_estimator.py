"""The two-batch estimator and Fieller's interval, on arrays."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch._measuring.noise_scale import (
    mean_and_covariance,
    ratio_and_interval,
    two_batch_estimates,
)


class Gradients:
    """What `two_batch_estimates` needs of a `DatasetLoss`, with gradients at will."""

    dtype = np.dtype(np.float64)

    def __init__(self, gradients, samples=1):
        self.gradients, self.samples = gradients, samples
        self.size = gradients.shape[1]

    def batch_gradients(self):
        return ((self.samples, 0.0, gradient) for gradient in self.gradients)


def ratio(estimates):
    """The value and its interval, from a row each draw."""
    mean, covariance = mean_and_covariance(estimates)
    return ratio_and_interval(mean, covariance, len(estimates) - 1)


def test_numerator_and_denominator_are_unbiased():
    """Also where the mean is small beside the noise, and the ratio of a draw is useless."""
    random = np.random.default_rng(0)
    gradients = random.normal(size=(60_000, 10)) * 3 + 0.2
    found = two_batch_estimates(Gradients(gradients, samples=4), 6)
    assert found.shape == (10_000, 2)
    error = found.std(axis=0) / 100
    # Each row is the gradient of a batch of 4: the variance of a sample's is 4 times as large.
    expected = np.array([4 * 9 * 10, 0.04 * 10])
    assert (np.abs(found.mean(0) - expected) < 4 * error).all()
    assert found[:, 1].min() < 0


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.floats(1e-3, 1e3), st.integers(0, 999))
def test_does_not_depend_on_the_scale_of_the_loss(batches, scale, seed):
    gradients = np.random.default_rng(seed).normal(1, 1, size=(10 * batches, 4))
    plain, scaled = (
        two_batch_estimates(Gradients(g), batches) for g in (gradients, scale * gradients)
    )
    value, interval = ratio(plain)
    scaled_value, scaled_interval = ratio(scaled)
    assert scaled_value == pytest.approx(value, rel=1e-6, nan_ok=True)
    assert scaled_interval == pytest.approx(interval, rel=1e-6)
    trace, scaled_trace = plain[:, 0].mean(), scaled[:, 0].mean()
    assert scaled_trace == pytest.approx(scale**2 * trace, rel=1e-6)


def test_same_gradients_have_no_noise():
    same = np.ones((12, 3))
    estimates = two_batch_estimates(Gradients(same), 3)
    value, interval = ratio(estimates)
    assert (value, *estimates.mean(axis=0)) == (0, 0, 3)
    assert interval == (0, 0)


@pytest.mark.parametrize(("square", "finite"), [(10.0, 1.0), (3.0, 0.8), (0.0, 0.03)])
def test_interval_holds_the_truth_as_often_as_it_says(square, finite):
    random = np.random.default_rng(1)
    covariance = np.array([[4.0, 1.5], [1.5, 9.0]])
    held, known, trials, draws = 0, 0, 1000, 8
    for _ in range(trials):
        estimates = random.multivariate_normal([20, square], covariance, draws)
        value, (low, high) = ratio(estimates)
        held += low <= (20 / square if square else math.inf) <= high
        known += math.isfinite(value)
        assert math.isfinite(high) == math.isfinite(value)
        assert 0 <= low <= high
        if math.isfinite(value):
            assert low <= value <= high
    # 95 %, and where the ratio is infinite the part of its interval that is too small to be one.
    assert 0.93 < held / trials < 0.99
    assert known / trials == pytest.approx(finite, abs=0.15 if 0.5 < finite < 1 else 0.02)


def test_interval_beside_its_definition():
    """All ratios r for which the mean of `trace - r * square` is within its error of zero."""
    estimates = np.random.default_rng(5).multivariate_normal([20, 10], [[4, -3], [-3, 9]], 10)
    _, interval = ratio(estimates)
    for end in interval:
        difference = estimates[:, 0] - end * estimates[:, 1]
        student = difference.mean() / (difference.std(ddof=1) / np.sqrt(10))
        assert abs(student) == pytest.approx(2.262157, rel=1e-5)


@pytest.mark.parametrize("square", [0.5, -0.5])
def test_lower_bound_is_the_least_trace_over_the_largest_square(square):
    estimates = np.array([[18, square - 3], [20, square + 3], [22, square + 1], [24, square - 1]])
    value, interval = ratio(estimates)
    errors = 3.182446 * estimates.std(axis=0, ddof=1) / 2
    assert math.isnan(value)
    expected = (21 - errors[0]) / (max(square, 0) + errors[1])
    assert interval == pytest.approx((expected, math.inf), rel=1e-5)
