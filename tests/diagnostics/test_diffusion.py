"""fit_diffusion against closed forms, NumPy's polyfit and a textbook interval."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_bigbatch._numerics.student_t import student_t
from keras_bigbatch.diagnostics import DiffusionFit, fit_diffusion

T = np.array([10, 14, 20, 35, 50, 100, 200, 500, 1000, 3000])
NOISE = np.random.default_rng(0).normal(0, 0.2, len(T))


def test_log_curve_comes_back():
    fit = fit_diffusion(T, 1.5 + 3.0 * np.log(T))
    assert fit.slope == pytest.approx(3.0, rel=1e-12)
    assert fit.intercept == pytest.approx(1.5, rel=1e-11)
    assert fit.r2 == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(fit.slope_interval, [3.0, 3.0], rtol=1e-10)
    assert fit.r2 > max(fit.sqrt.r2, fit.power.r2, fit.exponent_r2)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.8])
def test_power_of_log_comes_back(exponent):
    fit = fit_diffusion(T, 0.7 * np.log(T) ** exponent)
    assert fit.exponent == pytest.approx(exponent, rel=1e-12)
    assert fit.alpha == pytest.approx(2 / exponent, rel=1e-12)
    assert fit.exponent_r2 == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_allclose(fit.exponent_interval, [exponent] * 2, rtol=1e-10)


def test_sqrt_curve_comes_back():
    fit = fit_diffusion(T, 2.0 + 0.3 * np.sqrt(T))
    assert fit.sqrt.slope == pytest.approx(0.3, rel=1e-12)
    assert fit.sqrt.intercept == pytest.approx(2.0, rel=1e-11)
    assert fit.sqrt.r2 == pytest.approx(1.0, abs=1e-12)
    assert fit.sqrt.r2 > max(fit.r2, fit.power.r2, fit.exponent_r2)


def test_power_curve_comes_back():
    fit = fit_diffusion(T, 0.4 * T**0.43)
    assert fit.power.exponent == pytest.approx(0.43, rel=1e-12)
    assert fit.power.factor == pytest.approx(0.4, rel=1e-11)
    assert fit.power.r2 == pytest.approx(1.0, abs=1e-12)
    assert fit.power.r2 > max(fit.r2, fit.sqrt.r2, fit.exponent_r2)


def test_against_polyfit():
    distance = 1.0 + 2.0 * np.log(T) + NOISE
    fit = fit_diffusion(T, distance)

    def oracle(x, y, undo=lambda value: value):
        (slope, intercept), covariance = np.polyfit(x, y, 1, cov=True)
        half = 2.306004 * np.sqrt(covariance[0, 0])  # Student's t of 8 degrees of freedom.
        fitted = undo(intercept + slope * x)
        r2 = 1 - ((distance - fitted) ** 2).sum() / ((distance - distance.mean()) ** 2).sum()
        return [slope, intercept, r2, slope - half, slope + half]

    log = [fit.slope, fit.intercept, fit.r2, *fit.slope_interval]
    np.testing.assert_allclose(log, oracle(np.log(T), distance), rtol=1e-6)
    root = [fit.sqrt.slope, fit.sqrt.intercept, fit.sqrt.r2, *fit.sqrt.slope_interval]
    np.testing.assert_allclose(root, oracle(np.sqrt(T), distance), rtol=1e-6)
    power = [fit.power.exponent, np.log(fit.power.factor), fit.power.r2]
    expected = oracle(np.log(T), np.log(distance), np.exp)
    np.testing.assert_allclose([*power, *fit.power.exponent_interval], expected, rtol=1e-6)
    slope, _, r2, low, high = oracle(np.log(np.log(T)), np.log(distance), np.exp)
    found = [fit.exponent, fit.exponent_r2, *fit.exponent_interval]
    np.testing.assert_allclose(found, [slope, r2, low, high], rtol=1e-6)


def test_interval_by_hand():
    # ln t = 1, 2, 3 and distances 1, 3, 4: slope 3/2, residuals (-1, 2, -1)/6, so a residual sum of
    # squares of 1/6 on one degree of freedom, and a standard error of sqrt(1/6/2).
    fit = fit_diffusion(np.exp([1.0, 2.0, 3.0]), [1.0, 3.0, 4.0])
    assert fit.slope == pytest.approx(1.5)
    assert fit.intercept == pytest.approx(-1 / 3)
    assert fit.r2 == pytest.approx(1 - (1 / 6) / (14 / 3))
    half = 12.706205 * np.sqrt(1 / 12)
    np.testing.assert_allclose(fit.slope_interval, [1.5 - half, 1.5 + half], rtol=1e-6)


# From tables of Student's t, two-sided 95 %.
STUDENT = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 10: 2.2281, 11: 2.2010}
STUDENT |= {29: 2.0452, 30: 2.0423, 60: 2.0003, 120: 1.9799, 1000: 1.9623, 100_001: 1.9600}


@pytest.mark.parametrize(("freedom", "value"), STUDENT.items())
def test_student_t(freedom, value):
    assert student_t(freedom) == pytest.approx(value, abs=6e-5)


def test_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        low, high = fit_diffusion(T, 10 + 2 * np.log(T) + rng.normal(size=len(T))).slope_interval
        hits += low <= 2.0 <= high
    assert 930 <= hits <= 970


@given(st.floats(0.01, 100.0))
def test_units_of_the_distance(scale):
    distance = 1.0 + 2.0 * np.log(T) + NOISE
    fit, scaled = fit_diffusion(T, distance), fit_diffusion(T, scale * distance)
    assert scaled.slope == pytest.approx(scale * fit.slope)
    assert scaled.sqrt.intercept == pytest.approx(scale * fit.sqrt.intercept)
    assert scaled.power.factor == pytest.approx(scale * fit.power.factor)
    assert scaled.exponent == pytest.approx(fit.exponent)
    assert scaled.r2 == pytest.approx(fit.r2)


def test_result_is_plain_frozen_and_printable():
    fit = fit_diffusion(list(T), list(1.0 + 2.0 * np.log(T) + NOISE))
    assert isinstance(fit, DiffusionFit)
    flat = dataclasses.asdict(fit)
    numbers = [*flat.pop("sqrt").values(), *flat.pop("power").values(), *flat.values()]
    for number in numbers:
        assert all(type(n) is float for n in (number if isinstance(number, tuple) else (number,)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        fit.slope = 0.0
    lines = str(fit).splitlines()
    assert len(lines) == 6
    assert f"s = {fit.slope:.4g}" in lines[1]
    assert f"{fit.power.r2:.4f}" in lines[4]


@pytest.mark.parametrize(
    ("updates", "distance", "message"),
    [
        ([2, 3], [1.0, 2.0], "3 points or more. Received: 2"),
        ([2, 3, 4], [1.0, 2.0], r"of the same length. Received: shapes \(3,\) and \(2,\)"),
        ([[2, 3, 4]], [[1.0, 2.0, 3.0]], "must be flat"),
        ([1, 2, 3], [1.0, 2.0, 3.0], "2 or more, since the fits take ln"),
        ([2, 4, 4], [1.0, 2.0, 3.0], "must increase"),
        ([2, 5, 4], [1.0, 2.0, 3.0], "must increase"),
        ([2, 3, 4], [1.0, np.nan, 3.0], "must be finite. Received: 0 and 1 values"),
        ([2, 3, np.inf], [1.0, 2.0, 3.0], "must be finite. Received: 1 and 0 values"),
        ([2, 3, 4], [0.0, 2.0, 3.0], "positive and must change"),
        ([2, 3, 4], [2.0, 2.0, 2.0], "positive and must change. Received: values from 2.0 to 2.0"),
    ],
)
def test_bad_arguments(updates, distance, message):
    with pytest.raises(ValueError, match=message):
        fit_diffusion(updates, distance)
