"""What `print(plan)` shows of an optimizer, and the warning where another one was compiled."""

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch import Regime
from tests.user_warnings import assert_said_once, recorded

O = keras.optimizers  # noqa: E741
X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")

# Worked out by hand. A decay of 0.05 at a rate of 0.001 has a time of 1 / 0.00005 = 20 000 updates;
# of 8 samples these are 160 000, and of 1600 updates 12.5 times the training.
ADAMW = """\
AdamW                    small batch  large batch  rule
learning_rate                  0.001        0.004  x 4: square root
beta_1                           0.9       0.1853  ^ 16: kept in samples
beta_2                         0.999       0.9841  ^ 16: kept in samples
epsilon                        1e-07      2.5e-08  / 4: as the gradients' noise
weight_decay                    0.05          0.2  x 4: its time kept in samples
  its time in updates         20,000        1,250  at the highest rate
  its time in samples        160,000      160,000  at the highest rate
  its time in trainings         12.5         6.25  at the highest rate
ema_momentum                    0.99       0.8515  ^ 16: kept in samples
ema_overwrite_frequency          100            6  / 16: kept in samples
global_clipnorm                    1            1  left: no rule; a mean over more is smaller"""


def adamw(rate=0.001, **changes):
    return O.AdamW(rate, **{"weight_decay": 0.05, **changes})


def test_the_optimizers_part_of_the_table():
    small = adamw(use_ema=True, ema_overwrite_frequency=100, global_clipnorm=1.0)
    text = str(Regime(8, 10, 1280, optimizer=small).at(128, stretch=2, betas="samples"))
    assert ADAMW in text
    assert "Rate of AdamW: Malladi et al. 2022." in text
    assert "(`kernel_regularizer`)" in text
    assert text.endswith("Compile with plan.optimizer(), and give **plan.fit_arguments(x) to fit.")
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("optimizer", "row"),
    [
        (O.SGD(0.1, momentum=0.9), "momentum 0.9 0.9 left: the rate's rule is for the same"),
        (O.Adagrad(0.1), "learning_rate 0.1 0.1 x 1: left"),
        (O.Adagrad(0.1), "initial_accumulator_value 0.1 0.0003906 / 256: as the gradients' noise"),
        (kbb.optimizers.LARS(0.3, weight_decay=0.1), "weight_decay 0.1 0.1 left: a part of the"),
        (adamw(O.schedules.CosineDecay(0.01, 10)), "learning_rate CosineDecay x 4 square root"),
        # The highest rate is that at the warm-up's end.
        (
            adamw(O.schedules.CosineDecay(0.0, 900, warmup_target=0.01, warmup_steps=7)),
            "its time in updates 2,000 125 at the highest rate",
        ),
    ],
)
def test_rows_of_others(optimizer, row):
    text = str(Regime(8, 10, 800, optimizer=optimizer).at(128, stretch=1))
    assert any(" ".join(line.split()).startswith(row) for line in text.splitlines()), text


def test_a_table_without_an_optimizer_has_no_such_part():
    text = str(Regime(8, 10, 800, 0.1).at(128))
    assert "rule\n" not in text
    assert "Give plan.learning_rate to the optimizer" in " ".join(text.split())


PLAN = Regime(8, 4, 64, optimizer=adamw(0.01)).at(16, stretch=1)


def fitted(optimizer, plan=PLAN, callbacks=()):
    """Trains, and returns what was said."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse", jit_compile=False, run_eagerly=True)
    with recorded() as said:
        model.fit(X, X[:, :1], verbose=0, **plan.fit_arguments(X, callbacks=callbacks))
    return said


def test_the_plans_own_optimizer_passes():
    root = 2**0.5
    typed = adamw(PLAN.learning_rate, weight_decay=round(0.05 * root, 4), epsilon=1e-7 / root)
    for optimizer in (PLAN.optimizer(), O.LossScaleOptimizer(PLAN.optimizer()), typed):
        assert not fitted(optimizer)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (O.Adam(PLAN.learning_rate), "Adam instead of AdamW. Compile with `plan.optimizer()`"),
        (adamw(PLAN.learning_rate), "epsilon=1e-07 instead of 7.07"),
        (adamw(PLAN.learning_rate, epsilon=1e-7 / 2**0.5), "weight_decay=0.05 instead of 0.0707"),
        (
            adamw(O.schedules.CosineDecay(0.1, 9), weight_decay=0.0707, epsilon=7.07e-8),
            "not the plan's: another schedule. Compile",
        ),
    ],
)
def test_another_optimizer_is_warned_of(optimizer, message):
    assert_said_once(fitted(optimizer), message, __file__)


def test_what_an_optimizer_warns_of_is_said_once_for_each():
    def lars():
        return kbb.optimizers.LARS(5.0, trust_coefficient=0.1)

    with recorded() as said:
        lars()
    assert_said_once(said, "without weight decay", __file__)
    with recorded() as said:
        plan = Regime(8, 4, 64, optimizer=lars()).at(16, stretch=1)
    assert_said_once(said, "without weight decay", __file__)
    with recorded() as said:
        optimizer = plan.optimizer()
    assert_said_once(said, "without weight decay", __file__)
    assert not fitted(optimizer, plan)


def test_a_rate_of_zero_has_no_time():
    warming = O.schedules.PolynomialDecay(0.0, 10, end_learning_rate=0.0)
    assert "its time in" not in str(Regime(8, 4, 64, optimizer=adamw(warming)).at(16))


def test_a_rate_that_is_a_number():
    """`ReduceLROnPlateau` needs one."""
    moved = {"weight_decay": 0.0707, "epsilon": 7.07e-8}
    assert not fitted(adamw(0.01 * 2**0.5, **moved))
    assert_said_once(fitted(adamw(0.01, **moved)), "plan's: learning_rate=0.01. Compile", __file__)
    said = fitted(adamw(0.01, **moved), callbacks=[keras.callbacks.ReduceLROnPlateau("loss")])
    assert_said_once(said, "a float: `optimizers.scale_optimizer`", __file__)


def test_a_named_rule_is_said_to_be_named():
    text = str(Regime(8, 4, 64, optimizer=O.Lion(0.1)).at(16, rule="sqrt"))
    assert "Rate of Lion: the rule that you named; of others rule='sqrt' keeps" in " ".join(
        text.split()
    )


def test_a_warmup_that_keeps_its_updates_is_shown():
    cosine = O.schedules.CosineDecay(0.0, 30, warmup_target=0.1, warmup_steps=2)
    plan = Regime(8, 4, 64, optimizer=adamw(cosine)).at(16, schedule_warmup="updates")
    assert "Warm-up: the schedule's own, with as many updates as before." in str(plan)
