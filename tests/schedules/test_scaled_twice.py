"""Rates that are scaled or stretched twice, or from the large batch to the small one."""

import warnings

import keras
import pytest

from keras_bigbatch.schedules import LearningRateScaler, Regime, RegimeStretch, scale_learning_rate
from tests.user_warnings import recorded

PLAN = Regime(128, 10, 50_000, {0: 0.1, 5: 0.01}).at(1024, stretch=2)


class Around(keras.optimizers.schedules.LearningRateSchedule):
    """A user's own schedule around another one."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, step):
        return self.inner(step)


class Mine(LearningRateScaler):
    """A user's own scaler."""


@pytest.mark.parametrize("scaler", [LearningRateScaler, Mine])
@pytest.mark.parametrize(
    "rate",
    [
        PLAN.learning_rate,
        Around(PLAN.learning_rate),
        RegimeStretch(PLAN.learning_rate, 128, 1024, stretch=1),
        Mine(0.1, 128, 1024),
    ],
)
def test_scaling_twice(rate, scaler):
    message = "scaled from a batch of 128 to 1024 already.*`plan.learning_rate`"
    with pytest.raises(ValueError, match=message):
        scaler(rate, 128, 1024)
    assert scaler(rate, 1024, 4096).factor == 2  # another pair of batches
    assert scaler(rate, 128, 1024, rule="none").factor == 1  # for its warm-up


def test_scaling_what_a_plan_left_unscaled():
    plan = Regime(128, 10, 50_000, 0.1).at(1024, rule="none")
    assert LearningRateScaler(plan.learning_rate, 128, 512 * 2, rule="linear").factor == 8


def test_stretching_twice():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 1000)
    once = RegimeStretch(rate, 128, 1024, stretch=2)
    with pytest.raises(ValueError, match="stretched from a batch of 128 to 1024 already"):
        RegimeStretch(LearningRateScaler(once, 128, 1024), 128, 1024, stretch=2)
    assert RegimeStretch(once, 128, 1024, stretch=8).stretch == 8  # the same pace
    assert RegimeStretch(once, 1024, 2048, stretch=1).stretch == 1


def test_a_regime_of_a_scaled_rate():
    with pytest.raises(ValueError, match="scaled from a batch of 128 to 1024 already"):
        Regime(128, 10, 50_000, PLAN.learning_rate).at(1024)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LearningRateScaler(0.1, 1024, 32),
        lambda: RegimeStretch(0.1, 1024, 32, stretch=1),
        lambda: LearningRateScaler(RegimeStretch(0.1, 1024, 32, stretch=1), 1024, 32),
        lambda: Mine(0.1, 1024, 32),
        lambda: Regime(1024, 8, 4096, 0.1).at(32, stretch=1),
        lambda: Regime(1024, 8, 4096, PLAN.learning_rate).at(32, stretch=1),
    ],
)
def test_batches_in_the_wrong_order_warn_once_at_the_users_line(make):
    with recorded() as caught:
        make()
    (warning,) = caught
    assert "`large_batch` is below `small_batch`" in str(warning.message)
    assert "small_batch=1024, large_batch=32" in str(warning.message)
    assert warning.filename == __file__


def test_batches_in_the_wrong_order_are_not_said_again_of_a_copy():
    with pytest.warns(UserWarning, match="is below `small_batch`"):
        rate = LearningRateScaler(0.1, 1024, 32)
    optimizer = keras.optimizers.SGD(rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))


def test_a_plain_number_may_shrink():
    assert scale_learning_rate(0.4, 128, 32) == pytest.approx(0.2)
