"""Power laws, roughness and differences: what the figures of Gao & Zhong are measured with."""

import math

import numpy as np
import pytest

from reproduction.figures.gao_zhong import statistics as gao_statistics
from reproduction.statistics import mean_and_noise

BATCHES = [10, 20, 40]


@pytest.mark.parametrize("power", [-1.0, -0.5, 0.0, 2.0])
def test_exponent_of_a_power_law(power):
    assert gao_statistics.exponent(BATCHES, [3 * b**power for b in BATCHES]) == pytest.approx(power)


@pytest.mark.parametrize("bad", [0.0, -1.0, None, math.nan])
def test_exponent_of_what_has_no_logarithm(bad):
    assert math.isnan(gao_statistics.exponent(BATCHES, [1.0, bad, 2.0]))


def test_roughness():
    line = [3.0 + 2 * t for t in range(9)]
    assert gao_statistics.roughness(line) == 0
    assert gao_statistics.roughness([(-1) ** t for t in range(9)]) == pytest.approx(4 / 6**0.5)
    noise = np.random.default_rng(0).normal(0, 0.3, 20_000) + np.linspace(0, 50, 20_000)
    assert gao_statistics.roughness(noise.tolist()) == pytest.approx(0.3, rel=0.03)
    assert math.isnan(gao_statistics.roughness([1.0, 2.0]))


def test_what_is_not_finite_is_a_dash():
    values = [[1.0, 2.0], [math.nan, 1.0], [math.inf, math.inf]]
    assert [gao_statistics.shown(each) for each in values] == ["1.50 ± 0.71", "-", "-"]
    assert gao_statistics.finite("abc", values) == (["a"], [[1.0, 2.0]])
    assert all(map(math.isnan, mean_and_noise([math.nan, 1.0])))
    assert gao_statistics.text(math.nan, math.nan) == "unknown"


def test_estimates_are_paired_by_seed():
    assert mean_and_noise([4.0]) == (4.0, 0.0)
    mean, noise = mean_and_noise([1.0, 2.0, 3.0])
    assert (mean, noise) == pytest.approx((2.0, 2 / 3**0.5))
    results = [
        {"arm": arm, "seed": seed, "x": 10.0 * seed + (arm == "b")}
        for seed in (2, 1)
        for arm in "ab"
    ]
    assert gao_statistics.paired(results, "x", "b", "a") == (1.0, 0.0)
    assert gao_statistics.text(-0.5, 0.02) == "-0.50 ± 0.02"
    assert gao_statistics.text(-0.5, 0.0) == "-0.50"
