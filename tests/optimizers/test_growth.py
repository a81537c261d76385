"""Why LARS without decay collapses: its weights grow, at a rate that can be written down."""

import math
import warnings

import keras
import numpy as np
import pytest

from keras_bigbatch.optimizers import CBLR, LARS, MCLR, PercentDelta


def grown(optimizer, updates, size=1000):
    """The growth of a weight whose gradient is random and at right angles to it."""
    rng = np.random.default_rng(0)
    start = rng.normal(size=(size,)).astype("float32")
    with keras.name_scope("a"):
        variable = keras.Variable(start, name="kernel")
    weight = start
    for _ in range(updates):
        gradient = rng.normal(size=(size,)).astype("float32")
        gradient -= weight * (gradient @ weight) / (weight @ weight)
        # As before a batch norm: the larger the weight, the smaller the gradient.
        gradient /= np.linalg.norm(gradient) * np.linalg.norm(weight)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        weight = keras.ops.convert_to_numpy(variable)
    return np.linalg.norm(weight) / np.linalg.norm(start)


@pytest.mark.filterwarnings("ignore:LARS without weight decay")
@pytest.mark.parametrize(("momentum", "tolerance"), [(0.0, 0.01), (0.9, 0.2)])
def test_weights_grow_as_the_docstring_says(momentum, tolerance):
    relative = 0.05 if momentum == 0 else 0.01
    updates = 300
    optimizer = LARS(1.0, momentum, relative)
    per_e = 2 * ((1 - momentum) / relative) ** 2
    growth = math.log(grown(optimizer, updates))
    np.testing.assert_allclose(growth, updates / per_e, rtol=tolerance)


def test_decay_bounds_the_growth():
    with_decay = LARS(1.0, 0.0, 0.05, weight_decay=1e-3)
    assert grown(with_decay, 300) < 1.1


def test_fast_growth_warns_with_the_number():
    with pytest.warns(UserWarning, match=r"LARS without weight decay.*about 8 updates"):
        LARS(0.05, trust_coefficient=1.0)
    with pytest.warns(UserWarning, match="CBLR"):
        CBLR(1.0, trust_coefficient=0.05)


class Named(LARS):
    """Somebody's subclass with a constructor of its own."""

    def __init__(self, rate):
        super().__init__(rate, trust_coefficient=1.0, name="named")


class Twice(Named):
    def __init__(self):
        super().__init__(0.05)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LARS(0.05, trust_coefficient=1.0),
        lambda: MCLR(0.05, trust_coefficient=1.0),
        lambda: PercentDelta(0.05, trust_coefficient=1.0),
        lambda: CBLR(1.0, trust_coefficient=0.05),
        lambda: Named(0.05),
        lambda: Twice(),
        lambda: MCLR.from_config({"learning_rate": 0.05, "trust_coefficient": 1.0}),
    ],
    ids=["LARS", "MCLR", "PercentDelta", "CBLR", "Named", "Twice", "from_config"],
)
def test_warning_points_at_the_line_that_makes_the_optimizer(make):
    with pytest.warns(UserWarning, match="without weight decay") as said:
        make()
    assert [(each.filename, each.lineno) for each in said] == [
        (__file__, make.__code__.co_firstlineno)
    ]


def test_schedule_warns_of_its_highest_rate():
    """One that falls to 0 collapses too: `python -m reproduction collapse`."""
    falling = keras.optimizers.schedules.CosineDecay(0.05, 1600)
    warmed = keras.optimizers.schedules.CosineDecay(0.0, 9000, warmup_target=0.05, warmup_steps=100)
    for schedule in (falling, warmed):
        with pytest.warns(UserWarning, match="about 8 updates"):
            LARS(schedule, trust_coefficient=1.0)


def test_schedule_is_called_as_the_optimizer_calls_it():
    """With a tensor, whose type it may ask for."""

    class Tensors(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            kind = keras.backend.standardize_dtype(step.dtype)
            return keras.ops.full((), 0.05 if "int" in kind else 0.0)

        def get_config(self):
            return {}

    with pytest.warns(UserWarning, match="about 8 updates"):
        LARS(Tensors(), trust_coefficient=1.0)


def test_harmless_growth_does_not_warn():
    schedule = keras.optimizers.schedules.CosineDecay(0.001, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LARS()
        LARS(2.0)
        LARS(0.05, trust_coefficient=1.0, weight_decay=1e-4)
        LARS(schedule, trust_coefficient=1.0)


def test_a_copy_does_not_warn_again():
    with pytest.warns(UserWarning, match="about 8 updates"):
        optimizer = LARS(0.05, trust_coefficient=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))


def test_the_defaults_make_progress():
    """The objective of optax's example, which does not move in five updates of its defaults."""
    with keras.name_scope("a"):
        variable = keras.Variable(np.array([1.0, 2.0, 3.0], "float32"), name="kernel")
    optimizer = LARS()
    for _ in range(50):
        gradient = 2 * keras.ops.convert_to_numpy(variable)
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
    assert (keras.ops.convert_to_numpy(variable) ** 2).sum() < 0.85 * 14
