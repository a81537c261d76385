"""Power laws, roughness and differences: what the figures of Gao & Zhong are measured with."""

import math

import numpy as np
import pytest

from reproduction.figures.gao_zhong import statistics as gao_statistics

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


def test_gains_are_points_by_seed():
    results = [
        {"arm": arm, "seed": seed, "share": seed / 10 + share}
        for seed in (2, 1)
        for arm, share in (("a", 0.0), ("b", seed / 100))
    ]
    assert gao_statistics.gains(results, "share", "b", "a") == pytest.approx([1.0, 2.0])
    results[0]["share"] = None
    first, second = gao_statistics.gains(results, "share", "b", "a")
    assert first == pytest.approx(1.0)
    assert math.isnan(second)
