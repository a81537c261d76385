import dataclasses
import re

import keras
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch.schedules import Regime

TABLE = """\
                             small batch                  large batch
---------------------------------------------------------------------
batch                                128                        4,096
epochs                               200                        6,500
updates per epoch                    390                           12
updates                           78,000                       78,000
samples processed              9,984,000                  319,488,000
---------------------------------------------------------------------
learning rate from  update  epoch   rate    update    epoch      rate
                         0      0    0.1         0        0    0.5657
                    31,590     81   0.01    31,590  2,632.5   0.05657
                    47,580    122  0.001    47,580    3,965  0.005657
---------------------------------------------------------------------
Batch x 32, rates x 5.657 (rule: sqrt).
Warm-up: 60 updates (to epoch 5), from the unscaled rate to the scaled one.
Counted without each epoch's partial batch, which fit keeps of arrays.
Cost: 32 times the small batch's samples, and the same number of updates.
Give plan.learning_rate to the optimizer, and **plan.fit_arguments(x) to fit."""

SCHEDULE_TABLE = """\
                                 small batch                  large batch
-------------------------------------------------------------------------
batch                                     20                        1,000
micro-batches                              -                      2 x 500
fit steps per epoch                        -                            8
epochs                                    40                          160
updates per epoch                        200                            4
updates                                8,000                          640
samples processed                    160,000                      640,000
-------------------------------------------------------------------------
learning rate at     update  epoch      rate    update   epoch       rate
  the start               0      0       0.1         0       0     0.2614
  1/4                 1,999   9.99   0.07501       159   39.75     0.3929
  1/2                 3,999     20   0.05001       319   79.75     0.2622
  3/4                 5,999     30   0.02501       479  119.75     0.1315
  the end             7,999  39.99  1.25e-05       639  159.75  0.0008169
-------------------------------------------------------------------------
Batch x 50, rates x 5.228 (rule: half_linear).
Warm-up: 1 update (to epoch 0.25), from zero to the scaled one.
Cost: 4 times the small batch's samples, and 7,360 fewer updates (-92.0%).
Give plan.learning_rate and gradient_accumulation_steps=2 to the optimizer, and
**plan.fit_arguments(x) to fit."""

RATES = {0: 0.1, 81: 0.01, 122: 0.001}


def half_linear(ratio):
    return ratio / 2 if ratio < 2 else 5.228


def cost_of(plan):
    return next(line for line in str(plan).splitlines() if line.startswith("Cost: "))


def test_table():
    regime = Regime(128, 200, 50_000, RATES, drop_remainder=True)
    assert str(regime.at(4096, warmup_epochs=5)) == TABLE


def test_table_of_a_schedule():
    base = keras.optimizers.schedules.PolynomialDecay(0.1, 8000, 0.0)
    regime = Regime(20, 40, 4000, base)
    plan = regime.at(1000, half_linear, 4, 0.005, 2, "legw")
    assert str(plan) == SCHEDULE_TABLE


def test_table_of_a_float():
    text = str(Regime(20, 40, 4000, 0.05).at(1000, "none", stretch=1))
    assert "No warm-up." in text
    assert "Counted" not in text  # nothing is left over
    assert re.search(r"0\s+0\s+0.05\s+0\s+0\s+0.05$", text, re.MULTILINE)


def test_partial_batches_are_kept_by_default():
    text = str(Regime(128, 200, 50_000, 0.1).at(4096))
    assert "Counted with each epoch's partial batch, as fit does with arrays." in text


@pytest.mark.parametrize(
    ("arguments", "cost"),
    [
        ({}, "32 times the small batch's samples, and the same number of updates."),
        (
            {"stretch": 1},
            "0.9846 times the small batch's samples, and 75,600 fewer updates (-96.9%).",
        ),
        (
            {"stretch": 64},
            "63.02 times the small batch's samples, and 75,600 more updates (+96.9%).",
        ),
    ],
)
def test_cost(arguments, cost):
    regime = Regime(128, 200, 50_000, 0.1, drop_remainder=True)
    assert cost_of(regime.at(4096, **arguments)) == f"Cost: {cost}"


def test_cost_of_keeping_the_samples():
    assert cost_of(Regime(10, 10, 1000, 0.1).at(100, stretch=1)) == (
        "Cost: as many samples as the small batch, and 900 fewer updates (-90.0%)."
    )
    assert cost_of(Regime(128, 200, 50_000, 0.1).at(4096)) == (
        "Cost: 30.07 times the small batch's samples, and 5 fewer updates (-0.006%)."
    )


def test_rates_that_are_not_reached_or_not_there():
    plan = Regime(10, 10, 100, {0: 0.8, 1: 0.4, 2: 0.2, 9: 0.1}).at(100, "none", stretch=0.44)
    assert plan.updates == 4
    rates = [line.split("  ")[-1].strip() for line in str(plan).splitlines()[9:13]]
    assert rates[:3] == ["0.8", "0.2", "not reached"]
    assert rates[3].endswith("0.1")  # the small batch's fourth rate has no partner
    assert str(plan).splitlines()[12].split() == ["90", "9", "0.1"]


@pytest.mark.parametrize(
    ("rate", "warmup_epochs", "sentence"),
    [
        (0.1, 0, "No warm-up."),
        (keras.optimizers.schedules.CosineDecay(0.1, 100), 0, "No warm-up."),
        (
            keras.optimizers.schedules.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=20),
            0,
            "Warm-up: the schedule's own.",
        ),
        (
            keras.optimizers.schedules.CosineDecay(0.0, 100, warmup_target=0.1, warmup_steps=20),
            1,
            "from the unscaled rate to the scaled one, on top of the schedule's own.",
        ),
    ],
)
def test_a_schedule_may_have_a_warmup_of_its_own(rate, warmup_epochs, sentence):
    plan = Regime(10, 10, 100, rate).at(50, warmup_epochs=warmup_epochs)
    text = " ".join(str(plan).split())
    assert sentence in text
    assert text.count("arm-up") == 1


def test_a_plan_for_a_smaller_batch():
    with pytest.warns(UserWarning, match="small_batch=50, large_batch=10") as caught:
        plan = Regime(50, 10, 100, 0.1).at(10, stretch=1)
    assert [each.filename for each in caught] == [__file__]
    head, _, batch, *_ = str(plan).splitlines()
    assert head.split() == ["large", "batch", "small", "batch"]
    assert batch.split() == ["batch", "50", "10"]
    assert cost_of(plan).startswith("Cost: as many samples as the large batch, and 80 more updates")


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 4096),
    st.integers(1, 300),
    st.integers(4096, 2_000_000),
    st.sampled_from([1, 2, 8]),
    st.none() | st.floats(0.01, 64),
    st.booleans(),
)
def test_alignment(batch, epochs, examples, k, stretch, drop_remainder):
    rates = {0: 0.1, epochs // 2: 0.0123456, epochs - 1: 1e-5}
    plan = Regime(batch, epochs, examples, rates, drop_remainder).at(4096, "sqrt", stretch, 0, k)
    lines = str(plan).splitlines()
    rules = [i for i, line in enumerate(lines) if set(line) == {"-"}]
    width = len(lines[rules[0]])
    assert len(rules) == 3
    for line in [*lines[: rules[1]], *lines[rules[1] + 1 : rules[1] + 3]]:
        assert len(line) == width  # both recipes end flush right
    assert max(map(len, lines[rules[2] :])) <= max(80, width)
    assert all(line == line.rstrip() for line in lines)


def test_it_is_frozen_and_keeps_its_regime():
    regime = Regime(128, 200, 50_000, RATES)
    plan = regime.at(4096, "linear", 4, 5, 8)
    assert plan.regime is regime
    assert (plan.batch, plan.micro_batch, plan.accumulation_steps) == (4096, 512, 8)
    assert (plan.rule, plan.stretch, plan.warmup_updates) == ("linear", 4.0, 61)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.epochs = 1
