import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch.schedules import LearningRateScaler, Regime, RegimeStretch

schedules = keras.optimizers.schedules
RATES = {0: 0.1, 81: 0.01, 122: 0.001}


@st.composite
def regimes(draw):
    """Recipes with a rate that halves at some of the epochs."""
    examples = draw(st.integers(20, 60_000))
    batch = draw(st.integers(1, examples))
    epochs = draw(st.integers(1, 300))
    drops = draw(st.sets(st.integers(1, max(epochs - 1, 1)), max_size=4)) if epochs > 1 else set()
    rates = {epoch: 0.5**i for i, epoch in enumerate([0, *sorted(drops)])}
    return Regime(batch, epochs, examples, rates, draw(st.booleans()))


@st.composite
def large_batches(draw):
    """A recipe, a batch that is not smaller than its own, and accumulation steps that divide it."""
    regime = draw(regimes())
    k = draw(st.integers(1, 9))
    micro = draw(st.integers(1, regime.examples))
    return regime, max(micro * k, -(-regime.batch // k) * k), k


def small_rate(regime, position):
    """The rate at a (fractional) epoch of the small-batch recipe."""
    return regime.learning_rate[max(e for e in regime.learning_rate if e <= position)]


@pytest.mark.parametrize(
    ("drop_remainder", "steps", "updates", "samples"),
    [(True, 390, 78_000, 200 * 49_920), (False, 391, 78_200, 10_000_000)],
)
def test_acceptance_counts(drop_remainder, steps, updates, samples):
    regime = Regime(128, 200, 50_000, RATES, drop_remainder)
    assert (regime.steps_per_epoch, regime.updates, regime.samples) == (steps, updates, samples)
    assert regime.drops == ((0, 0, 0.1), (81 * steps, 81, 0.01), (122 * steps, 122, 0.001))


@pytest.mark.parametrize(
    ("drop_remainder", "epochs", "steps"), [(True, 6500, 12), (False, 6015, 13)]
)
def test_acceptance_plan(drop_remainder, epochs, steps):
    regime = Regime(128, 200, 50_000, RATES, drop_remainder)
    plan = regime.at(4096)
    assert (plan.epochs, plan.steps_per_epoch, plan.updates) == (epochs, steps, epochs * steps)
    assert abs(plan.updates - regime.updates) <= steps
    assert [update for update, _, _ in plan.drops] == [update for update, _, _ in regime.drops]
    assert [rate for _, _, rate in plan.drops] == pytest.approx(
        [rate * 32**0.5 for rate in RATES.values()], rel=1e-12
    )
    for update, epoch, rate in plan.drops[1:]:
        assert epoch == pytest.approx(update / steps, rel=1e-12)
        assert float(plan.learning_rate(update - 1)) == pytest.approx(10 * rate, rel=1e-6)
        assert float(plan.learning_rate(update)) == pytest.approx(rate, rel=1e-6)


def test_the_papers_recipe_is_longer_than_the_same_number_of_updates():
    """Erratum 13: 32 times the epochs are 6.4 % more updates."""
    regime = Regime(128, 200, 50_000, RATES, drop_remainder=False)
    literal = regime.at(4096, stretch=32)
    assert literal.epochs == 6400
    assert literal.updates / regime.updates == pytest.approx(1.064, abs=5e-4)
    assert [epoch for _, epoch, _ in literal.drops] == [0, 81 * 32, 122 * 32]


@settings(max_examples=80, deadline=None)
@given(large_batches())
def test_same_number_of_updates(case):
    regime, batch, k = case
    plan = regime.at(batch, accumulation_steps=k)
    per_epoch = Fraction(plan.steps_per_epoch, k)
    assert plan.micro_batch * k == plan.batch == batch
    assert plan.epochs >= 1
    assert plan.updates == math.floor(plan.epochs * per_epoch) >= 1
    assert abs(plan.epochs * per_epoch - regime.updates) <= max(per_epoch / 2, 1)
    starts = [update for update, _, _ in plan.drops]
    assert starts == [update for update, _, _ in regime.drops]
    last = starts[-1]
    assert float(plan.learning_rate(last * k)) == pytest.approx(plan.drops[-1][2], rel=1e-6)
    if last:
        step_before = last * k - 1  # the last micro-step of the update before
        assert float(plan.learning_rate(step_before)) == pytest.approx(plan.drops[-2][2], rel=1e-6)


@settings(max_examples=80, deadline=None)
@given(large_batches(), st.sampled_from([0.5, 1, 1.7, 4, 2.4, 10, 40 / 3]), st.data())
def test_stretched_epochs(case, stretch, data):
    """Epoch e of the small batch is epoch e * stretch of the large one, at every update."""
    regime, batch, k = case
    plan = regime.at(batch, "none", stretch, accumulation_steps=k)
    per_epoch = Fraction(plan.steps_per_epoch, k)
    exact = Fraction(str(stretch)).limit_denominator(1000)
    assert plan.epochs == max(round(regime.epochs * exact), math.ceil(1 / per_epoch))
    assert plan.updates == math.floor(plan.epochs * per_epoch)
    updates = [data.draw(st.integers(0, plan.updates - 1))]
    updates += [u + offset for u, _, _ in plan.drops[1:] for offset in (-1, 0)]
    for update in updates:
        position = update / per_epoch / exact  # in small-batch epochs
        rate = float(plan.learning_rate(update * k))
        assert rate == pytest.approx(small_rate(regime, position), rel=1e-6)
    for update, epoch, _ in plan.drops:
        assert epoch == pytest.approx(float(update / per_epoch), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(large_batches(), st.none() | st.floats(0.1, 40))
def test_samples_processed(case, stretch):
    regime, batch, k = case
    plan = regime.at(batch, stretch=stretch, accumulation_steps=k)
    left_out = regime.examples % plan.micro_batch if regime.drop_remainder else 0
    assert plan.samples == plan.epochs * (regime.examples - left_out)
    assert plan.samples <= plan.epochs * plan.steps_per_epoch * plan.micro_batch


def test_schedule_at_the_same_updates_is_the_schedule():
    base = schedules.CosineDecay(0.1, 78_000)
    plan = Regime(128, 200, 50_000, base).at(4096, "linear")
    assert isinstance(plan.learning_rate, LearningRateScaler)
    assert plan.learning_rate.learning_rate is base
    assert plan.drops == Regime(128, 200, 50_000, base).drops == ()


@pytest.mark.parametrize("k", [1, 8])
@pytest.mark.parametrize("stretch", [1, 4, 2.4, 32])
def test_schedule_drops_where_the_same_dict_does(stretch, k):
    by_epoch = Regime(128, 200, 50_000, RATES, drop_remainder=True)
    boundaries = [81 * 390 - 1, 122 * 390 - 1]  # Keras holds the rate up to its boundary
    base = schedules.PiecewiseConstantDecay(boundaries, list(RATES.values()))
    plan = by_epoch.at(4096, stretch=stretch, accumulation_steps=k)
    same = Regime(128, 200, 50_000, base, True).at(4096, stretch=stretch, accumulation_steps=k)
    assert isinstance(same.learning_rate.learning_rate, RegimeStretch)
    assert same.updates == plan.updates
    for update, _, rate in plan.drops[1:]:
        assert float(same.learning_rate(update * k - 1)) == pytest.approx(10 * rate, rel=1e-6)
        assert float(same.learning_rate(update * k)) == pytest.approx(rate, rel=1e-6)


def test_smooth_schedule_is_read_at_the_same_fraction_of_an_epoch():
    plan = Regime(20, 40, 4000, schedules.CosineDecay(0.05, 8000)).at(1000, stretch=4)
    assert (plan.epochs, plan.updates) == (160, 640)
    for update in (0, 1, 333, 639):
        expected = 0.025 * (1 + math.cos(math.pi * update / 640)) * 50**0.5
        assert float(plan.learning_rate(update)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("warmup", "warmup_epochs", "k", "updates"),
    [
        ("gradual", 0, 1, 0),
        ("gradual", 5, 1, 60),
        ("gradual", 2.5, 1, 30),
        ("gradual", 0.01, 1, 1),
        ("gradual", 4, 8, 48),  # 97 micro-steps an epoch are 12.125 updates
        ("legw", 5, 1, 1950),
        ("legw", 0.5, 8, 195),
    ],
)
def test_warmup_length(warmup, warmup_epochs, k, updates):
    regime = Regime(128, 200, 50_000, 0.1, drop_remainder=True)
    for stretch in (None, 10):
        plan = regime.at(4096, "sqrt", stretch, warmup_epochs, k, warmup)
        assert plan.warmup_updates == updates
        assert plan.learning_rate.warmup_updates == updates
        full = 0.1 * 32**0.5
        assert float(plan.learning_rate(updates * k)) == pytest.approx(full, rel=1e-6)
        if updates:
            assert float(plan.learning_rate(updates * k - 1)) < 0.9999 * full


def test_short_plan_skips_rates_that_share_an_update():
    regime = Regime(10, 10, 100, {0: 0.8, 1: 0.4, 2: 0.2, 8: 0.1})
    plan = regime.at(100, "none", stretch=0.5)  # 5 updates, one an epoch
    assert plan.drops == ((0, 0.0, 0.8), (1, 1.0, 0.2), (4, 4.0, 0.1))
    rates = [float(plan.learning_rate(update)) for update in range(plan.updates)]
    np.testing.assert_allclose(rates, [0.8, 0.2, 0.2, 0.2, 0.1])


def test_at_least_one_update():
    plan = Regime(10, 1, 10, 0.1).at(40, accumulation_steps=4)  # one micro-batch an epoch
    assert (plan.epochs, plan.steps_per_epoch, plan.updates) == (4, 1, 1)
    assert Regime(10, 1, 10, 0.1).at(40, stretch=1, accumulation_steps=4).epochs == 4
    assert Regime(10, 10, 100, 0.1).at(100, stretch=0.001).epochs == 1


def test_rates_are_sorted_and_kept_as_plain_numbers():
    given_rates = {np.int64(7): 1, 0: np.float32(0.5)}
    regime = Regime(np.int64(8), np.int32(10), np.int64(80), given_rates)
    assert repr(regime) == (
        "Regime(batch=8, epochs=10, examples=80, learning_rate={0: 0.5, 7: 1.0}, "
        "drop_remainder=False, optimizer=None)"
    )
    given_rates[9] = 0.1
    assert list(regime.learning_rate) == [0, 7]
    with pytest.raises(AttributeError):
        regime.batch = 9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "`batch` must be a positive integer"),
        ({"epochs": 1.5}, "`epochs` must be a positive integer"),
        ({"examples": -1}, "`examples` must be a positive integer"),
        ({"batch": 50_001}, "cannot be larger than the data set"),
        ({"batch": 50_001, "drop_remainder": True}, "cannot be larger than the data set"),
        ({"learning_rate": -0.1}, "`learning_rate` must be a positive"),
        ({"learning_rate": lambda step: 0.1}, "LearningRateSchedule"),
        ({"learning_rate": {}}, "must have a rate for epoch 0"),
        ({"learning_rate": {1: 0.1}}, "must have a rate for epoch 0"),
        ({"learning_rate": {0: 0.1, 200: 0.01}}, "integers from 0 to epochs - 1 = 199"),
        ({"learning_rate": {0: 0.1, -1: 0.01}}, "Received: -1 in"),
        ({"learning_rate": {0: 0.1, 2.5: 0.01}}, "Received: 2.5 in"),
        ({"learning_rate": {"0": 0.1}}, "Received: '0' in"),
        ({"learning_rate": {False: 0.1}}, "Received: False in"),
        ({"learning_rate": {0: 0.1, 9: 0.0}}, r"`learning_rate\[9\]` must be a positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Regime(
            **{"batch": 128, "epochs": 200, "examples": 50_000, "learning_rate": 0.1, **arguments}
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch": 0}, "`batch` must be a positive integer"),
        ({"batch": 60_000}, "cannot be larger than the data set"),
        ({"accumulation_steps": 0}, "`accumulation_steps` must be a positive integer"),
        ({"batch": 4100, "accumulation_steps": 8}, "The next multiple is 4104"),
        ({"rule": "cubic"}, "`rule` must be one of"),
        ({"stretch": 0}, "`stretch` must be a positive, finite number"),
        ({"warmup_epochs": -1}, "`warmup_epochs` must be a finite number of 0 or more"),
        ({"warmup_epochs": 7000}, "must be shorter than the training"),
        ({"warmup_epochs": 5, "warmup": "cosine"}, "`warmup` must be one of"),
        ({"warmup": "legw"}, "`warmup_epochs` in `Regime.at`"),
    ],
)
def test_bad_arguments_of_at(arguments, message):
    with pytest.raises(ValueError, match=message):
        Regime(128, 200, 50_000, RATES).at(**{"batch": 4096, **arguments})


def test_micro_batches_may_come_from_a_data_set_smaller_than_the_batch():
    plan = Regime(10, 12, 50, {0: 0.5, 6: 0.25}).at(100, accumulation_steps=4)
    assert (plan.steps_per_epoch, plan.epochs, plan.updates) == (2, 120, 60)


def test_accumulating_schedule_cannot_be_a_small_batch_recipe():
    base = LearningRateScaler(0.1, 1, 2, accumulation_steps=2)
    with pytest.raises(ValueError, match="only the outermost"):
        Regime(128, 200, 50_000, base).at(4096)


@pytest.mark.parametrize(("examples", "drop_remainder"), [(24, True), (26, False)])
def test_first_update_of_an_epoch_has_its_rate(fit_rates, examples, drop_remainder):
    """At the small batch itself, with and without a partial batch."""
    regime = Regime(4, 4, examples, {0: 0.5, 1: 0.25, 3: 0.125}, drop_remainder)
    plan = regime.at(4)
    rates, _ = fit_rates(plan.learning_rate, examples, plan.micro_batch, plan.epochs)
    assert len(rates) == regime.updates == plan.updates
    steps = regime.steps_per_epoch
    assert steps == (6 if drop_remainder else 7)
    expected = np.repeat([0.5, 0.25, 0.25, 0.125], steps)
    np.testing.assert_allclose(rates, expected, atol=2e-6)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("stretch", [None, 2])
def test_plan_in_fit(fit_rates, stretch, k):
    """Rates, updates and epochs as Keras counts them; with k = 3 an epoch is 10 / 3 updates."""
    regime = Regime(4, 3, 60, {0: 0.5, 1: 0.25, 2: 0.125}, drop_remainder=False)
    plan = regime.at(18, "none", stretch, warmup_epochs=0, accumulation_steps=k)
    rates, model = fit_rates(
        plan.learning_rate, 60, plan.micro_batch, plan.epochs, k if k > 1 else None
    )
    assert len(rates) == plan.epochs * plan.steps_per_epoch
    assert int(model.optimizer.iterations) == plan.updates
    if stretch is None:
        positions = np.arange(plan.updates) / regime.steps_per_epoch
    else:
        positions = np.arange(plan.updates) * k / plan.steps_per_epoch / stretch
    expected = np.zeros(len(rates))
    expected[k - 1 :: k] = [small_rate(regime, position) for position in positions]
    np.testing.assert_allclose(rates, expected, atol=1e-5)
