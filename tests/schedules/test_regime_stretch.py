import json
import math
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_bigbatch.schedules import RegimeStretch

schedules = keras.optimizers.schedules
pytestmark = pytest.mark.filterwarnings("ignore:`large_batch` is below `small_batch`")

ratios = st.tuples(st.integers(1, 512), st.integers(1, 512))
# What a person types, and quotients of small numbers.
stretches = st.one_of(
    st.integers(1, 64),
    st.sampled_from([0.1, 0.25, 1.5, 2.4, 6.4, 12.8, 1 / 3, 40 / 3]),
    st.integers(1, 999).map(lambda n: n / 100),
)


class Position(schedules.LearningRateSchedule):
    """Keeps the steps that it is called with."""

    def __init__(self):
        self.seen = []

    def __call__(self, step):
        self.seen.append(step)
        return 1.0


def position(small, large, stretch, step, **arguments):
    """Where the stretched schedule reads its base."""
    base = Position()
    RegimeStretch(base, small, large, stretch, **arguments)(step)
    return base.seen[0]


def is_integer(tensor):
    return keras.backend.standardize_dtype(tensor.dtype).startswith("int")


@pytest.mark.parametrize(
    ("stretch", "expected"),
    [(32, 1000), (1, 32_000), (4, 8000), (64, 500), (0.5, 64_000)],
)
def test_closed_forms(stretch, expected):
    read = position(128, 4096, stretch, 1000)
    assert float(read) == expected
    assert is_integer(read) == (stretch != 64)


@settings(max_examples=60, deadline=None)
@given(ratios, stretches, st.integers(0, 200_000))
def test_reads_the_base_at_the_right_place(batches, stretch, step):
    small, large = batches
    exact = Fraction(step * large, small) / Fraction(str(stretch)).limit_denominator(1000)
    read = position(small, large, stretch, step)
    if exact >= 2**31:
        return
    if is_integer(read):
        assert int(read) == exact
    else:
        assert float(read) == pytest.approx(float(exact), rel=1.2e-7)
        if exact.denominator == 1 and exact < 2**24:
            assert float(read) == exact


@settings(max_examples=60, deadline=None)
@given(ratios, stretches, st.integers(1, 5_000))
@example((256, 1), 64, 1025)  # 16 384 updates for one: beyond what a float32 resolves
@example((3, 10), 1, 9)  # 3 * float32(10 / 3) is not 10
def test_drops_come_at_the_right_update(batches, stretch, drop):
    """`drop` is the first small-batch update with the lower rate."""
    small, large = batches
    base = schedules.PiecewiseConstantDecay([drop - 1], [1.0, 0.5])
    schedule = RegimeStretch(base, small, large, stretch)
    slowness = Fraction(str(stretch)).limit_denominator(1000) * Fraction(small, large)
    last = math.floor((drop - 1) * slowness)  # Keras holds the rate up to its boundary
    assert float(schedule(last)) == 1.0
    # Next to `drop - 1` a float32 resolves the fraction only so far; then one update is late.
    exact = drop * slowness.numerator < 2**24
    assert float(schedule(last + 1)) == 0.5 or not exact
    assert float(schedule(math.ceil(drop * slowness))) == 0.5


def test_integers_stay_exact_where_floats_are_not():
    step = 2**26 - 1
    assert int(position(128, 4096, 1, step)) == 32 * step
    assert int(position(128, 4096, 32, 2**31 - 1)) == 2**31 - 1


@pytest.mark.parametrize("stretch", [math.pi, 1e-3 * math.e, 12345.678901])
def test_stretch_that_is_no_simple_fraction(stretch):
    for step in (0, 1, 999, 100_000):
        assert float(position(128, 4096, stretch, step)) == pytest.approx(
            32 * step / stretch, rel=3e-7
        )


def test_float_stays_constant():
    schedule = RegimeStretch(0.1, 128, 4096, stretch=1)
    assert {float(schedule(step)) for step in (0, 1, 10**6)} == {float(np.float32(0.1))}


@settings(max_examples=30, deadline=None)
@given(ratios, stretches, st.integers(1, 20), st.integers(0, 2000), st.data())
def test_every_micro_step_of_an_update_reads_the_same(batches, stretch, k, update, data):
    step = k * update + data.draw(st.integers(0, k - 1))
    read = position(*batches, stretch, step, accumulation_steps=k)
    assert float(read) == float(position(*batches, stretch, update))


@pytest.mark.parametrize("stretch", [32, 1, 7, 2.4, math.pi])
def test_any_step_and_tracing(stretch):
    base = schedules.CosineDecay(0.1, 5000)
    schedule = RegimeStretch(base, 128, 4096, stretch, accumulation_steps=2)
    speed = 32 / stretch
    function = schedule
    if keras.backend.backend() == "jax":
        import jax

        function = jax.jit(schedule)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        function = tf.function(schedule)
    else:
        from torch.fx.experimental.proxy_tensor import make_fx

        # Fake tensors have no values: a branch on one raises.
        function = make_fx(schedule, tracing_mode="fake")(keras.ops.convert_to_tensor(0))
    for step in (0, 1, 2, 101, 200):
        done = min(step // 2 * speed / 5000, 1)
        expected = 0.05 * (1 + math.cos(math.pi * done))
        tensor = keras.ops.convert_to_tensor(step)
        variable = keras.Variable(step, dtype="int", trainable=False)
        for kind in (step, np.int64(step), float(step), tensor, variable):
            assert float(schedule(kind)) == pytest.approx(expected, abs=1e-7)
        assert float(function(tensor)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("stretch", [32, 1, 2.4, 40 / 3, math.pi])
def test_config_round_trip(stretch):
    inner = RegimeStretch(schedules.ExponentialDecay(0.1, 100, 0.5), 128, 256, stretch=1.5)
    schedule = RegimeStretch(inner, 128, 4096, stretch, accumulation_steps=3, name="slow")
    config = json.loads(json.dumps(schedules.serialize(schedule)))
    assert config["registered_name"] == "keras_bigbatch>RegimeStretch"
    loaded = schedules.deserialize(config)
    assert isinstance(loaded, RegimeStretch)
    assert schedules.serialize(loaded) == config
    assert loaded.name == "slow"
    for step in (0, 1, 50, 333):
        assert float(loaded(step)) == float(schedule(step))


@pytest.mark.parametrize("stretch", [0, -1, math.nan, math.inf, "4", True, None])
def test_bad_stretch(stretch):
    with pytest.raises(ValueError, match="`stretch` must be a positive, finite number"):
        RegimeStretch(0.1, 128, 4096, stretch)


@pytest.mark.parametrize("argument", ["small_batch", "large_batch", "accumulation_steps"])
@pytest.mark.parametrize("value", [0, -3, 1.5])
def test_bad_integers(argument, value):
    batches = {"small_batch": 128, "large_batch": 4096}
    with pytest.raises(ValueError, match=f"`{argument}` must be a positive integer"):
        RegimeStretch(0.1, **{**batches, "stretch": 1, argument: value})


@pytest.mark.parametrize("k", [1, 2])
def test_fit_reads_the_schedule_at_the_stretched_pace(fit_rates, k):
    base = schedules.PiecewiseConstantDecay([7, 15], [0.5, 0.25, 0.125])  # drops at 8 and 16
    schedule = RegimeStretch(base, 2, 8, stretch=2, accumulation_steps=k)  # so at 4 and 8
    rates, _ = fit_rates(schedule, 24 * k, 2, epochs=1, accumulation_steps=k if k > 1 else None)
    expected = np.zeros(12 * k)
    expected[k - 1 :: k] = [0.5] * 4 + [0.25] * 4 + [0.125] * 4
    np.testing.assert_allclose(rates, expected, atol=1e-6)


def test_stretch_has_no_default():
    with pytest.raises(TypeError, match="'stretch'"):
        RegimeStretch(0.1, 128, 4096)


@pytest.mark.parametrize(("small", "large"), [(128, 4096), (3, 1000), (7, 1)])
def test_files_without_a_stretch_load(small, large):
    """`stretch` was None by default, the ratio of the batches."""
    config = RegimeStretch(0.1, small, large, stretch=1).get_config()
    base = Position()
    loaded = RegimeStretch.from_config({**config, "learning_rate": base, "stretch": None})
    loaded(1001)
    assert int(base.seen[0]) == 1001
    assert is_integer(base.seen[0])
