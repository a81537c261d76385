"""What the seeds say of a difference: against SciPy's tests, and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from reproduction.paired import OverSeeds, contrast, with_interval

DRAWN = tuple(np.random.default_rng(3).normal(0.4, 1.0, 10))


def test_interval_of_two_seeds_by_hand():
    # Student's t of one degree of freedom is Cauchy's distribution: its quantile is a tangent.
    reach = math.tan(math.pi * 0.45)
    assert OverSeeds((1.0, 3.0)).interval(0.9) == pytest.approx((2 - reach, 2 + reach))


@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_interval_is_that_of_scipy(confidence):
    expected = stats.ttest_1samp(DRAWN, 0).confidence_interval(confidence)
    assert OverSeeds(DRAWN).interval(confidence) == pytest.approx((expected.low, expected.high))


def test_permutation_test_is_that_of_scipy():
    expected = stats.permutation_test(
        (DRAWN,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert OverSeeds(DRAWN).permutation_p == pytest.approx(expected.pvalue)


def test_permutation_test_by_hand():
    # Of the eight signs, only +++ and --- are as far from 0.
    assert OverSeeds((1.0, 2.0, 4.0)).permutation_p == 2 / 8
    # Equal differences: +-, -+ have a mean of 0.
    assert OverSeeds((0.1, 0.1)).permutation_p == 2 / 4
    assert OverSeeds((0.3, -0.1, -0.2)).permutation_p == 1


@pytest.mark.parametrize("margin", [0.6, 0.9, 1.0, 1.1, 1.5])
def test_equivalence_is_two_one_sided_tests(margin):
    above = stats.ttest_1samp(DRAWN, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(DRAWN, margin, alternative="less").pvalue
    assert OverSeeds(DRAWN).equivalent(margin, 0.95) == (max(above, below) < 0.05)


def test_the_margins_above_are_on_both_sides():
    assert [OverSeeds(DRAWN).equivalent(margin, 0.95) for margin in (0.6, 1.5)] == [False, True]


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((2.0, 2.1, 1.9), "better"),
        ((-2.0, -2.1, -1.9), "worse"),
        ((0.2, 0.21, 0.19), "better, within the margin"),
        ((-0.2, -0.21, -0.19), "worse, within the margin"),
        ((0.1, -0.1, 0.05), "equivalent"),
        ((3.0, -3.0, 1.0), "open"),
    ],
)
def test_verdict(differences, verdict):
    assert OverSeeds(differences).verdict(0.5, 0.95) == verdict


def test_a_verdict_is_by_the_confidence_that_is_asked_for():
    # Student's t is 5.2: beyond the 4.3 of 95 %, within the 14.1 of 99.5 %.
    found = OverSeeds((1.0, 1.5, 2.0))
    assert found.mean / (0.5 / math.sqrt(3)) == pytest.approx(5.196, abs=1e-3)
    assert found.verdict(0.5, 0.95) == "better"
    assert found.verdict(0.5, 0.995) == "open"


def trained(**scores):
    return [
        {"arm": arm, "seed": seed, "test_accuracy": score}
        for arm, each in scores.items()
        for seed, score in each.items()
    ]


def test_contrast_is_of_the_arms_means_by_seed():
    # The seeds in another order: they are paired by what they are, not by where they stand.
    results = trained(a={1: 0.9, 2: 0.8}, b={2: 0.6, 1: 0.7}, c={1: 0.5, 2: 0.5})
    found = contrast(results, ["a", "b"], ["c"])
    assert found.values == pytest.approx((30.0, 20.0))


@pytest.mark.parametrize("scores", [{"a": {1: 0.9, 2: 0.8}, "c": {1: 0.5}}, {"a": {1: 0.9}}])
def test_contrast_wants_every_training(scores):
    with pytest.raises(ValueError, match="same seeds"):
        contrast(trained(**scores), ["a"], ["c"])


def test_a_mean_with_half_of_its_interval():
    half = 2.0 * stats.t.ppf(0.975, 1) / math.sqrt(2) * math.sqrt(2) / 2
    assert with_interval([0.9, 0.92]) == f"91.00 ± {half:.2f}"
    assert with_interval([0.9], [0.985]) == "90.00*"
    assert with_interval([0.9], [0.995]) == "90.00"
    assert with_interval(None) == ""
