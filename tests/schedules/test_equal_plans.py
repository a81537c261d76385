"""Regimes and plans cannot be changed, have a hash, and are equal when they say the same."""

import copy
import pickle

import keras
import pytest

from keras_bigbatch.schedules import LearningRateScaler, Regime

schedules = keras.optimizers.schedules
RATES = {0: 0.1, 5: 0.01}


def by_epoch():
    return Regime(10, 10, 1000, RATES)


def by_schedule(steps=100):
    return Regime(10, 10, 1000, schedules.CosineDecay(0.1, steps))


def by_nested_schedule():
    return Regime(10, 10, 1000, LearningRateScaler(schedules.CosineDecay(0.1, 100), 5, 10))


@pytest.mark.parametrize(
    "make", [by_epoch, by_schedule, by_nested_schedule, lambda: Regime(10, 10, 1000, 0.1)]
)
def test_equal_ones(make):
    assert make() == make()
    assert len({make(), make()}) == 1
    assert make().at(100) == make().at(100)
    assert len({make().at(100, stretch=2), make().at(100, stretch=2)}) == 1
    # As a dictionary is, whatever the order of its entries.
    assert Regime(10, 10, 1000, dict(reversed(RATES.items()))) == by_epoch()


def test_unequal_ones():
    different = [
        by_epoch(),
        Regime(20, 10, 1000, RATES),
        Regime(10, 20, 1000, RATES),
        Regime(10, 10, 2000, RATES),
        Regime(10, 10, 1000, {0: 0.1, 5: 0.02}),
        Regime(10, 10, 1000, {0: 0.1, 6: 0.01}),
        Regime(10, 10, 1000, RATES, drop_remainder=True),
        by_schedule(),
        by_schedule(200),
        Regime(10, 10, 1000, schedules.CosineDecayRestarts(0.1, 100)),
    ]
    assert len(set(different)) == len(different)
    assert by_epoch() != "a regime"


def test_unequal_plans():
    regime = by_epoch()
    plans = [
        regime.at(100),
        regime.at(200),
        regime.at(100, "linear"),
        regime.at(100, stretch=2),
        regime.at(100, warmup_epochs=2),
        regime.at(100, warmup_epochs=1, warmup="legw"),
        regime.at(100, accumulation_steps=2),
    ]
    assert len(set(plans)) == len(plans)


def test_a_schedule_without_a_config_is_equal_to_itself_only():
    class Unsaved(schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1

    rate = Unsaved()
    assert Regime(10, 10, 1000, rate) == Regime(10, 10, 1000, rate)
    assert Regime(10, 10, 1000, rate) != Regime(10, 10, 1000, Unsaved())


def test_the_rates_cannot_be_changed():
    given = dict(RATES)
    regime = Regime(10, 10, 1000, given)
    given[0] = 5.0
    with pytest.raises(TypeError):
        regime.learning_rate[0] = 5.0
    assert regime.learning_rate == RATES
    assert repr(regime.learning_rate) == repr(RATES)


@pytest.mark.parametrize("make", [by_epoch, lambda: by_epoch().at(100)])
def test_copies_are_equal(make):
    assert copy.deepcopy(make()) == make()
    assert pickle.loads(pickle.dumps(make())) == make()
