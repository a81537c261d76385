"""The corrections of `docs/errata.md`, exactly: sums over every outcome of small cases."""

import itertools
import math

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="arithmetic, the same on every backend"
)
N, M = 6, 3  # samples, and of a batch
GRADIENTS = np.random.default_rng(0).normal(1.0, 1.0, (N, 2))
MEAN = GRADIENTS.mean(0)
SECOND = GRADIENTS.T @ GRADIENTS / N  # S
CENTRED = SECOND - np.outer(MEAN, MEAN)


def covariance(first, second=None):
    """Over outcomes that are equally likely, each a batch's gradient."""
    first = np.array(first)
    second = first if second is None else np.array(second)
    return (first - MEAN).T @ (second - MEAN) / len(first)


def close(a, b):
    return np.allclose(a, b, rtol=1e-12, atol=1e-14)


def test_weights_of_algorithm_1():
    rate, groups, batch = 0.1, 32, 128
    printed = (1 - rate) ** batch + sum((1 - rate) ** i * rate for i in range(1, batch + 1))
    by_group = (1 - rate) ** groups + sum((1 - rate) ** i * rate for i in range(1, groups + 1))
    corrected = (1 - rate) ** groups + sum(
        rate * (1 - rate) ** (groups - place) for place in range(1, groups + 1)
    )
    assert math.isclose(corrected, 1)
    assert round(printed, 4) == 0.9
    assert round(by_group, 4) == 0.9034
    # A constant statistic is what a moving average must come to rest at.
    assert math.isclose(by_group - (1 - rate) ** groups, (1 - rate) * (1 - (1 - rate) ** groups))


def test_mean_of_deviations_is_below_the_deviation():
    groups = np.random.default_rng(0).normal(size=(1000, 32))
    deviations = groups.std(1)
    assert deviations.mean() < math.sqrt((deviations**2).mean())


def test_covariance_with_replacement():
    batches = [GRADIENTS[list(b)].mean(0) for b in itertools.product(range(N), repeat=M)]
    assert close(covariance(batches), CENTRED / M)
    assert not close(covariance(batches), (1 / M - 1 / N) * SECOND)


def test_the_printed_covariance_is_that_of_independent_selection():
    total = np.zeros((2, 2))
    for chosen in itertools.product((0, 1), repeat=N):
        likely = (M / N) ** sum(chosen) * (1 - M / N) ** (N - sum(chosen))
        difference = np.array(chosen) @ GRADIENTS / M - MEAN
        total += likely * np.outer(difference, difference)
    assert close(total, (1 / M - 1 / N) * SECOND)


def test_covariance_without_replacement():
    batches = [GRADIENTS[list(b)].mean(0) for b in itertools.permutations(range(N), M)]
    assert close(covariance(batches), (N - M) / (M * (N - 1)) * CENTRED)


def test_batches_of_an_epoch_repel_each_other():
    orders = list(itertools.permutations(range(N)))
    first = [GRADIENTS[list(order[:M])].mean(0) for order in orders]
    second = [GRADIENTS[list(order[M:])].mean(0) for order in orders]
    assert close(covariance(first, second), -CENTRED / (N - 1))


def test_mean_absolute_gradient_of_a_batch():
    samples, deviation = 64, 2.0
    of_mean = deviation / math.sqrt(samples)
    x = np.linspace(-12 * of_mean, 12 * of_mean, 200_001)
    density = np.exp(-(x**2) / (2 * of_mean**2)) / (of_mean * math.sqrt(2 * math.pi))
    mean = np.trapezoid(np.abs(x) * density, x)
    assert math.isclose(mean, deviation * math.sqrt(2 / (math.pi * samples)), rel_tol=1e-8)
    printed = 2 * deviation / math.sqrt(math.pi * samples)
    assert math.isclose(printed / mean, math.sqrt(2), rel_tol=1e-8)


def test_variance_of_the_multiplicative_noise():
    small, large = 2, 6
    variance = large / small - 1
    # With replacement: sampling's part, and the noise's, which weighs each gradient by itself.
    own = (SECOND - np.outer(MEAN, MEAN)) / large + variance * SECOND / large
    wanted = CENTRED / small
    difference = np.outer(MEAN, MEAN)  # what is left where the mean is not small
    assert close(own - wanted, variance * difference / large)


def test_updates_of_a_regime_that_is_stretched_in_epochs():
    regime = kbb.Regime(128, 200, 50_000, 0.1, drop_remainder=False)
    epochs = 200 * 4096 // 128
    updates = math.ceil(50_000 / 4096) * epochs
    assert round(100 * (updates / regime.updates - 1), 1) == 6.4
    plan = regime.at(4096)
    assert abs(plan.updates / regime.updates - 1) < 0.001
