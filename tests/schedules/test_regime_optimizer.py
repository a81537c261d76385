"""A regime with an optimizer: the plan makes the optimizer for the large batch."""

import copy
import dataclasses
import math

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch import Regime
from tests.user_warnings import assert_said_once, recorded

O = keras.optimizers  # noqa: E741
COSINE = O.schedules.CosineDecay(3e-4, decay_steps=35_190, warmup_target=1e-3, warmup_steps=1_000)


def adamw(rate=COSINE, **changes):
    return O.AdamW(rate, **{"weight_decay": 0.05, "use_ema": True, "clipnorm": 1.0, **changes})


def regime(optimizer=None, **changes):
    sizes = {"batch": 128, "epochs": 90, "examples": 50_000, **changes}
    return Regime(**sizes, optimizer=optimizer or adamw())


# Worked out by hand. 1024 is 8 times 128, and the root of 8 is 2.828427. 50 000 samples are 391 and
# 49 updates, so that an update of the plan is worth 391 / 49 / stretch of the regime's; as a part
# of the training, the decay's time has as many updates less.
HAND = {
    "learning_rate": 2.828427,
    "weight_decay": 0.1414214,
    "ema_momentum": 0.9227447,
    "epsilon": 3.535534e-8,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "clipnorm": 1.0,
}
TRAINING_DECAY = {1: 0.141060, 4: 0.0352649, None: 0.01767767}


@pytest.mark.parametrize("stretch", [1, 4, None])
@pytest.mark.parametrize("decay", ["samples", "training"])
def test_all_hyperparameters_of_the_plan(stretch, decay):
    plan = regime().at(1024, stretch=stretch, decay=decay)
    optimizer = plan.optimizer()
    hand = dict(HAND)
    if decay == "training":
        hand["weight_decay"] = TRAINING_DECAY[stretch]
    rate = hand.pop("learning_rate")
    for name, value in hand.items():
        assert getattr(optimizer, name) == pytest.approx(value, rel=1e-5), name
    schedule = O.schedules.deserialize(optimizer.get_config()["learning_rate"])
    worth = {1: 391 / 49, 4: 391 / 49 / 4, None: 1.0}[stretch]
    for update in (0, 100, plan.updates // 2):
        expected = rate * float(COSINE(update * worth))
        assert float(schedule(update)) == pytest.approx(expected, rel=1e-5)


def test_a_new_optimizer_each_time_and_the_original_as_it_was():
    original = adamw()
    before = original.get_config()
    plan = regime(original).at(1024)
    first, second = plan.optimizer(), plan.optimizer()
    assert first is not second
    assert type(first) is type(second) is type(original)
    assert first.get_config() == second.get_config()
    assert original.get_config() == before


def test_it_warns_of_betas():
    with recorded() as said:
        regime().at(4096, stretch=4, betas="samples").optimizer()
    assert_said_once(said, "none falls below 0.1 is 2797", __file__)


def test_regimes_compare_by_class_and_config():
    one = regime()
    assert one == regime() == copy.deepcopy(one) == dataclasses.replace(one)
    assert len({one, regime(), regime(adamw(weight_decay=0.1)), regime(O.Adam(COSINE))}) == 3
    assert regime(adamw(1e-3)) != regime(adamw(2e-3))
    assert one.at(1024) == regime().at(1024) != one.at(1024, betas="samples")
    assert dataclasses.replace(one, batch=256).at(512).regime.optimizer == one.optimizer
    assert repr(one.optimizer) == "AdamW(CosineDecay)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.optimizer = None


@pytest.mark.parametrize("rates", [0.5, {0: 0.5, 30: 0.05}, O.schedules.CosineDecay(0.5, 35_190)])
def test_a_rate_beside_the_optimizer_replaces_its_own(rates):
    optimizer = O.SGD(0.1, momentum=0.9)
    beside = Regime(128, 90, 50_000, rates, optimizer=optimizer).at(1024, stretch=2)
    alone = Regime(128, 90, 50_000, rates).at(1024, stretch=2)
    assert beside.drops == alone.drops
    assert beside.optimizer().get_config()["learning_rate"] == keras.saving.serialize_keras_object(
        alone.learning_rate
    )
    assert float(optimizer.learning_rate) == pytest.approx(0.1)


def test_the_rule_is_the_tables_and_a_named_one_wins():
    assert Regime(128, 90, 50_000, 0.1).at(1024).rule == "sqrt"
    assert regime(O.Adagrad(0.1)).at(1024).rule == "none"
    assert regime(O.Adagrad(0.1)).at(1024).drops == ((0, 0.0, 0.1),)
    assert regime(O.SGD(0.1)).at(1024, rule="linear").drops[0][2] == pytest.approx(0.8)
    with pytest.raises(ValueError, match="no rule to move Lion"):
        regime(O.Lion(0.1)).at(1024)
    assert regime(O.Lion(0.1)).at(1024, rule="sqrt").optimizer().beta_1 == 0.9
    with recorded() as said:
        regime(O.Adam(0.1)).at(1024, rule="linear")
    assert_said_once(said, "multiplies the rate of Adam by 8", __file__)


def test_accumulation_goes_into_the_optimizer():
    plan = regime().at(1024, accumulation_steps=4)
    optimizer = plan.optimizer()
    assert optimizer.gradient_accumulation_steps == 4
    assert optimizer.ema_momentum == pytest.approx(0.99**2)  # of micro-batches of 256
    schedule = O.schedules.deserialize(optimizer.get_config()["learning_rate"])
    assert float(schedule(4 * 500)) == pytest.approx(math.sqrt(8) * float(COSINE(500)), rel=1e-6)
    accumulating = adamw(gradient_accumulation_steps=4)  # micro-batches of 32
    moved = regime(accumulating).at(1024).optimizer()
    assert moved.gradient_accumulation_steps is None
    assert moved.ema_momentum == pytest.approx(0.99**32)


def test_from_a_compiled_model():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="`model` must be a compiled model"):
        Regime.from_compiled(model, batch=128, epochs=90, examples=50_000)
    model.compile(adamw(), "mse")
    found = Regime.from_compiled(model, batch=128, epochs=90, examples=50_000)
    assert found == regime()


def test_it_trains_as_by_hand():
    """Also what `fit_arguments` brings, without a warning."""
    x = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
    y = x[:, :1]

    def trained(optimizer, **arguments):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(optimizer, "mse", jit_compile=False)
        model.fit(x, y, verbose=0, shuffle=False, **arguments)
        return model.get_weights()

    plan = Regime(4, 8, 64, optimizer=O.AdamW(0.1, weight_decay=0.05)).at(16, stretch=1)
    planned = trained(plan.optimizer(), **plan.fit_arguments(x))
    byhand = O.AdamW(0.2, weight_decay=0.1, epsilon=5e-8)
    for one, other in zip(planned, trained(byhand, epochs=8, batch_size=16), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not hasattr(O, "MultiOptimizer"), reason="older than MultiOptimizer")
def test_several_optimizers_have_their_own_rates():
    parts = O.OptimizerMap(O.SGD(0.1), {"a/.*": O.Adagrad(0.1)})
    several = regime(O.MultiOptimizer(parts))
    plan = several.at(1024, stretch=1)
    assert plan.drops[0][2] == pytest.approx(0.1 * math.sqrt(8))
    rates = [each.learning_rate for each in plan.optimizer().optimizers]
    assert [float(rate) for rate in rates] == pytest.approx([0.1, 0.1 * math.sqrt(8)])
    text = str(plan)
    assert "Adagrad of 'a/.*'" in text
    assert "SGD of the others" in text
    assert "the rate of each part by its rule" in text
    with pytest.raises(ValueError, match="must be left out where the optimizer is a `Multi"):
        Regime(128, 90, 50_000, 0.1, optimizer=O.MultiOptimizer(parts))


def test_mixed_precision_keeps_its_wrapper():
    plan = regime(O.LossScaleOptimizer(adamw(), initial_scale=4.0)).at(1024)
    optimizer = plan.optimizer()
    assert type(optimizer) is O.LossScaleOptimizer
    assert optimizer.initial_scale == 4.0
    assert optimizer.inner_optimizer.weight_decay == pytest.approx(0.05 * math.sqrt(8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a `learning_rate`, or an `optimizer`"),
        ({"optimizer": "adamw"}, "`optimizer` must be a Keras optimizer"),
        ({"optimizer": O.AdamW}, r"Pass one, such as `keras\.optimizers\.AdamW"),
    ],
)
def test_what_is_no_recipe_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Regime(128, 90, 50_000, **arguments)


def test_what_is_for_an_optimizer_needs_one():
    plain = Regime(128, 90, 50_000, 0.1)
    for arguments in ({"betas": "keep"}, {"decay": "training"}):
        with pytest.raises(ValueError, match="and the regime has none"):
            plain.at(1024, **arguments)
    with pytest.raises(ValueError, match="no optimizer to make one from"):
        plain.at(1024).optimizer()
    with pytest.raises(ValueError, match="warm-up can be told from the rest"):
        plain.at(1024, schedule_warmup="updates")


def test_a_warmup_keeps_its_updates():
    plan = regime().at(1024, stretch=4, schedule_warmup="updates")
    found = [float(plan.learning_rate(update)) for update in (0, 1000)]
    assert found == pytest.approx([3e-4 * math.sqrt(8), 1e-3 * math.sqrt(8)], rel=1e-6)


def test_layerwise_rates_are_left_or_take_legw():
    lars = kbb.optimizers.LARS(0.3, weight_decay=1e-4)
    assert regime(lars).at(1024).drops[0][2] == pytest.approx(0.3)
    plan = regime(lars).at(1024, rule="sqrt", warmup="legw", warmup_epochs=2)
    assert plan.warmup_updates == 2 * 391
    assert plan.drops[0][2] == pytest.approx(0.3 * math.sqrt(8))
