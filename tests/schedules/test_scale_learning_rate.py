import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bigbatch.schedules import scale_learning_rate

batches = st.integers(1, 100_000)
rates = st.floats(1e-6, 10)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("sqrt", 0.5656854249492381),
        ("linear", 3.2),
        ("none", 0.1),
        (lambda ratio: ratio**0.75, 0.1 * 32**0.75),
        (np.log2, 0.5),
    ],
)
def test_closed_forms(rule, expected):
    scaled = scale_learning_rate(0.1, 128, 4096, rule)
    assert type(scaled) is float
    assert scaled == pytest.approx(expected, rel=1e-15)


def test_sqrt_is_the_default():
    assert scale_learning_rate(0.1, 128, 4096) == scale_learning_rate(0.1, 128, 4096, "sqrt")


def test_numpy_numbers_are_taken():
    scaled = scale_learning_rate(np.float32(0.5), np.int64(2), np.int32(8), "linear")
    assert type(scaled) is float
    assert scaled == 2.0


@given(rates, batches, batches)
def test_sqrt_keeps_the_covariance_of_the_updates(rate, small, large):
    """Equation 6 of Hoffer et al.: cov(update) is proportional to rate^2 / batch."""
    scaled = scale_learning_rate(rate, small, large, "sqrt")
    assert scaled**2 / large == pytest.approx(rate**2 / small, rel=1e-12)


@given(rates, batches, batches)
def test_linear_keeps_the_rate_of_a_sample(rate, small, large):
    scaled = scale_learning_rate(rate, small, large, "linear")
    assert scaled / large == pytest.approx(rate / small, rel=1e-12)


@given(rates, batches, batches, batches, st.sampled_from(["sqrt", "linear", "none"]))
def test_two_steps_are_one(rate, small, middle, large, rule):
    halfway = scale_learning_rate(rate, small, middle, rule)
    direct = scale_learning_rate(rate, small, large, rule)
    assert scale_learning_rate(halfway, middle, large, rule) == pytest.approx(direct, rel=1e-12)


@pytest.mark.parametrize("rate", [0, -0.1, math.nan, math.inf, "0.1", None, True])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match="`learning_rate` must be a positive, finite number"):
        scale_learning_rate(rate, 128, 4096)


@pytest.mark.parametrize("batch", [0, -1, 128.0, None, True])
def test_bad_batches(batch):
    with pytest.raises(ValueError, match="`small_batch` must be a positive integer"):
        scale_learning_rate(0.1, batch, 4096)
    with pytest.raises(ValueError, match="`large_batch` must be a positive integer"):
        scale_learning_rate(0.1, 128, batch)


def test_unknown_rule():
    with pytest.raises(ValueError, match="`rule` must be one of 'sqrt', 'linear', 'none'"):
        scale_learning_rate(0.1, 128, 4096, "square root")


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, None])
def test_rule_that_gives_no_factor(value):
    with pytest.raises(ValueError, match=r"rule\(large_batch / small_batch\)"):
        scale_learning_rate(0.1, 128, 4096, lambda ratio: value)
