import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch.schedules import LearningRateScaler, RegimeStretch

schedules = keras.optimizers.schedules


def exponential():
    return schedules.ExponentialDecay(0.1, decay_steps=50, decay_rate=0.5)


def oracle(t, factor, warmup_updates=0, warmup="gradual"):
    """The rate over `exponential()`, in float64."""
    base = 0.1 * 0.5 ** (t / 50)
    if warmup_updates and t < warmup_updates:
        if warmup == "legw":
            factor *= (t + 1) / (warmup_updates + 1)
        else:
            factor = 1 + (factor - 1) * t / warmup_updates
    return base * factor


def traced(schedule):
    """The schedule as a compiled function, on whichever backend runs."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(schedule)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(schedule)
    from torch.fx.experimental.proxy_tensor import make_fx

    # Fake tensors have no values: a branch on one raises.
    return make_fx(schedule, tracing_mode="fake")(keras.ops.convert_to_tensor(0))


@keras.saving.register_keras_serializable(package="tests")
def three_quarters(ratio):
    return ratio**0.75


def unregistered(ratio):
    return ratio


@keras.saving.register_keras_serializable(package="tests")
class Power:
    def __init__(self, exponent):
        self.exponent = exponent

    def __call__(self, ratio):
        return ratio**self.exponent

    def get_config(self):
        return {"exponent": self.exponent}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class Foreign(schedules.LearningRateSchedule):
    """A user's own schedule around another one; it returns a Python float for a float."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, step):
        return self.inner(step) if callable(self.inner) else self.inner


@pytest.mark.parametrize("warmup", ["gradual", "legw"])
@pytest.mark.parametrize(
    ("rule", "factor"), [("sqrt", 32**0.5), ("linear", 32), ("none", 1), (three_quarters, 32**0.75)]
)
def test_oracle(rule, factor, warmup):
    plain = LearningRateScaler(exponential(), 128, 4096, rule)
    warm = LearningRateScaler(exponential(), 128, 4096, rule, 20, warmup=warmup)
    assert plain.factor == pytest.approx(factor, rel=1e-15)
    for t in (0, 1, 7, 19, 20, 21, 300):
        assert float(plain(t)) == pytest.approx(oracle(t, factor), rel=1e-6)
        assert float(warm(t)) == pytest.approx(oracle(t, factor, 20, warmup), rel=1e-6)


def test_acceptance_numbers():
    assert float(LearningRateScaler(0.1, 128, 4096)(0)) == pytest.approx(0.5656854, rel=1e-6)
    assert float(LearningRateScaler(0.1, 128, 4096, "linear")(0)) == pytest.approx(3.2, rel=1e-6)


@pytest.mark.parametrize("warmup_updates", [1, 3, 10, 4999])
def test_ends_of_the_warmup_are_exact(warmup_updates):
    gradual = LearningRateScaler(0.1, 128, 4096, warmup_updates=warmup_updates)
    legw = LearningRateScaler(0.1, 128, 4096, warmup_updates=warmup_updates, warmup="legw")
    full = LearningRateScaler(0.1, 128, 4096)
    assert float(gradual(0)) == np.float32(0.1)
    assert 0 < float(legw(0)) < float(full(0))
    for schedule in (gradual, legw):
        assert float(schedule(warmup_updates - 1)) < float(full(0))
        assert float(schedule(warmup_updates)) == float(full(warmup_updates))
        assert float(schedule(2**31 - 1)) == float(full(2**31 - 1))


def test_warmup_to_a_smaller_batch_goes_down():
    with pytest.warns(UserWarning, match="`large_batch` is below"):
        schedule = LearningRateScaler(0.8, 4096, 1024, warmup_updates=4)
    np.testing.assert_allclose(
        [float(schedule(t)) for t in range(6)], [0.8, 0.7, 0.6, 0.5, 0.4, 0.4]
    )


@settings(max_examples=30, deadline=None)
@given(
    k=st.integers(1, 50),
    update=st.integers(0, 10_000),
    warmup_updates=st.integers(0, 3000),
    data=st.data(),
)
def test_every_micro_step_of_an_update_has_its_rate(k, update, warmup_updates, data):
    micro_step = k * update + data.draw(st.integers(0, k - 1))
    counted = LearningRateScaler(exponential(), 32, 512, "sqrt", warmup_updates)
    accumulated = LearningRateScaler(exponential(), 32, 512, "sqrt", warmup_updates, k)
    assert float(accumulated(micro_step)) == float(counted(update))


@pytest.mark.parametrize("warmup", ["gradual", "legw"])
def test_any_step_and_tracing(warmup):
    schedule = LearningRateScaler(exponential(), 128, 4096, "sqrt", 20, 3, warmup)
    function = traced(schedule)
    for step in (0, 31, 58, 59, 60, 301):
        expected = oracle(step // 3, 32**0.5, 20, warmup)
        tensor = keras.ops.convert_to_tensor(step)
        variable = keras.Variable(step, dtype="int", trainable=False)
        for kind in (step, np.int64(step), np.int32(step), float(step), tensor, variable):
            assert float(schedule(kind)) == pytest.approx(expected, rel=1e-6)
        assert float(function(tensor)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "base",
    [
        0.1,
        Foreign(0.1),
        schedules.CosineDecay(0.1, 100, alpha=0.1),
        schedules.CosineDecayRestarts(0.1, 30),
        schedules.PiecewiseConstantDecay([10, 20], [0.1, 0.05, 0.01]),
        schedules.PolynomialDecay(0.1, 100),
        schedules.InverseTimeDecay(0.1, 10, 0.5),
    ],
)
def test_any_base(base):
    schedule = LearningRateScaler(base, 128, 4096, "linear")
    for step in (0, 10, 11, 21, 80):
        unscaled = float(base(step)) if callable(base) else base
        assert float(schedule(step)) == pytest.approx(32 * unscaled, rel=1e-6)


def test_rates_are_float32_also_where_keras_is_not():
    floatx = keras.config.floatx()
    try:
        keras.config.set_floatx("bfloat16")
        rate = LearningRateScaler(0.1, 128, 4096, warmup_updates=1000)(999)
    finally:
        keras.config.set_floatx(floatx)
    assert keras.backend.standardize_dtype(rate.dtype) == "float32"
    assert float(rate) == pytest.approx(0.1 * (1 + (32**0.5 - 1) * 0.999), rel=1e-6)


def test_nesting_commutes():
    stretch, scale = {"stretch": 4}, {"rule": "sqrt"}
    inside = RegimeStretch(
        LearningRateScaler(exponential(), 128, 4096, **scale), 128, 4096, **stretch
    )
    outside = LearningRateScaler(
        RegimeStretch(exponential(), 128, 4096, **stretch), 128, 4096, **scale
    )
    for t in (0, 1, 13, 100):
        expected = oracle(8 * t, 32**0.5)
        assert float(inside(t)) == pytest.approx(expected, rel=1e-6)
        assert float(outside(t)) == pytest.approx(expected, rel=1e-6)


def stretched(rate, *batches, **arguments):
    return RegimeStretch(rate, *batches, stretch=2, **arguments)


@pytest.mark.parametrize("outer", [LearningRateScaler, stretched])
@pytest.mark.parametrize("inner", [LearningRateScaler, stretched])
@pytest.mark.parametrize("between", [lambda s: s, Foreign, lambda s: stretched(s, 1, 1)])
def test_only_the_outermost_accumulates(outer, inner, between):
    allowed = outer(between(inner(0.1, 32, 128)), 128, 4096, accumulation_steps=4)
    assert allowed.accumulation_steps == 4
    with pytest.raises(ValueError, match="only the outermost may have `accumulation_steps`"):
        outer(between(inner(0.1, 32, 128, accumulation_steps=2)), 128, 4096)


@pytest.mark.parametrize("rule", ["linear", three_quarters, Power(0.6)])
def test_config_round_trip(rule):
    base = RegimeStretch(schedules.CosineDecay(0.1, 1000), 128, 4096, stretch=2.5)
    schedule = LearningRateScaler(base, 128, 4096, rule, 10, 2, "legw", name="rate")
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    assert config["registered_name"] == "keras_bigbatch>LearningRateScaler"
    loaded = schedules.deserialize(config)
    assert isinstance(loaded, LearningRateScaler)
    assert isinstance(loaded.learning_rate, RegimeStretch)
    assert schedules.serialize(loaded) == config
    assert loaded.name == "rate"
    for step in (0, 5, 19, 20, 333):
        assert float(loaded(step)) == float(schedule(step))


@pytest.mark.parametrize("rule", [lambda ratio: ratio, unregistered, math.sqrt])
def test_rule_that_could_not_be_loaded_is_not_saved(rule):
    schedule = LearningRateScaler(0.1, 128, 4096, rule)
    with pytest.raises(ValueError, match="registered with Keras"):
        schedule.get_config()


def test_rule_in_a_custom_object_scope():
    with keras.saving.custom_object_scope({"unregistered": unregistered}):
        config = LearningRateScaler(0.1, 128, 4096, unregistered).get_config()
        assert LearningRateScaler.from_config(config).rule is unregistered


@pytest.mark.parametrize(
    "rate",
    [0, -0.1, math.nan, "0.1", None, lambda: 0.1, schedules.CosineDecay, keras.Variable(0.1)],
)
@pytest.mark.parametrize("schedule", [LearningRateScaler, stretched])
def test_bad_learning_rates(schedule, rate):
    with pytest.raises(ValueError, match=r"`learning_rate` must be .*LearningRateSchedule"):
        schedule(rate, 128, 4096)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("small_batch", 0),
        ("large_batch", 12.5),
        ("rule", "cubic"),
        ("rule", lambda ratio: -ratio),
        ("warmup_updates", -1),
        ("warmup_updates", 2.5),
        ("accumulation_steps", 0),
        ("warmup", "linear"),
    ],
)
def test_bad_arguments(argument, value):
    arguments = {"learning_rate": 0.1, "small_batch": 128, "large_batch": 4096, argument: value}
    with pytest.raises(ValueError, match=argument):
        LearningRateScaler(**arguments)


def test_legw_needs_a_length():
    with pytest.raises(ValueError, match="needs a positive `warmup_updates`"):
        LearningRateScaler(0.1, 128, 4096, warmup="legw")


@pytest.mark.parametrize("k", [1, 3])
def test_fit_uses_these_rates(fit_rates, k):
    """Seven micro-batches an epoch: with k = 3 an update straddles the end of an epoch."""
    schedule = LearningRateScaler(exponential(), 2, 8, "linear", 4, k)
    rates, model = fit_rates(schedule, 14, 2, epochs=3, accumulation_steps=k if k > 1 else None)
    expected = np.zeros(21)
    expected[k - 1 :: k] = [oracle(t, 4, 4) for t in range(21 // k)]
    np.testing.assert_allclose(rates, expected, atol=2e-6)
    assert int(model.optimizer.iterations) == 21 // k


def test_comes_back_with_a_compiled_model(fit_rates, tmp_path):
    base = RegimeStretch(exponential(), 2, 8, stretch=2)
    schedule = LearningRateScaler(base, 2, 8, three_quarters, 5, 2)
    _, model = fit_rates(schedule, 12, 2, epochs=1, accumulation_steps=2)
    model.compile(model.optimizer, loss="mse")  # the loss of the fixture is a lambda
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").optimizer
    assert int(loaded.iterations) == int(model.optimizer.iterations) == 3
    assert float(loaded.learning_rate) == float(model.optimizer.learning_rate)
    assert float(loaded.learning_rate) == float(schedule(6))
