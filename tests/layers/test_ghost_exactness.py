"""Features that are constant in a group, or vary little far from zero, and what overflows."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch.layers import GhostBatchNormalization
from tests.autodiff import layer_gradients
from tests.layers.ghost_inputs import built, inputs, mask_for
from tests.oracles import ghost_batch_norm, ghost_groups, moving_statistics

BACKEND = keras.backend.backend()
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*all of the batch is one group"),
    pytest.mark.filterwarnings("ignore:With `virtual_batch=1`"),
]
MODES = ["sequential", "mean", "batch"]

# Shape without the batch, axis and ghost batch: vectors in several groups, one and one a sample,
# and pictures. With 19 samples the last group is larger; sizes that are no powers of two.
CASES = [((8,), 1, 3), ((8,), 1, 100), ((8,), 1, 1), ((5, 7, 8), -1, 3), ((8, 5, 7), 1, 3)]
CASES += [((33, 31, 8), -1, 5), ((8, 33, 31), 1, 100)]


def compiled(layer):
    """The training call as `fit` compiles it: on torch it is run as it is."""

    def call(x, mask=None):
        return layer(x, training=True, mask=mask)

    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(call, jit_compile=True)
    if BACKEND == "jax":
        import jax

        state = [[v.value for v in each] for each in (layer.variables[:2], layer.variables[2:])]
        run = jax.jit(lambda x, mask: layer.stateless_call(*state, x, training=True, mask=mask)[0])
        return lambda x, mask=None: run(x, mask)
    return call


def to_float32(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def constant_in_groups(shape, axis, size, largest):
    """Another value in each channel and group, of which sums are rounded."""
    rng = np.random.default_rng(0)
    x = np.zeros((19, *shape), "float32")
    values = rng.choice([-1, 1], 8) * largest ** rng.uniform(-0.5, 1, 8) / 7
    for number, group in enumerate(ghost_groups(19, size)):
        np.moveaxis(x, axis, -1)[group] = values * (1 + number)
    return x


@pytest.mark.parametrize(
    ("case", "dtype", "masked"),
    [
        *((case, "float32", False) for case in CASES),
        *((case, "float32", True) for case in CASES[::3]),
        *((case, dtype, False) for case in CASES[3:6] for dtype in ("bfloat16", "float16")),
        (CASES[0], "bfloat16", True),
    ],
    ids=str,
)
def test_what_is_constant_in_its_group_gives_beta(case, dtype, masked):
    shape, axis, size = case
    x = constant_in_groups(shape, axis, size, 1e4 if dtype == "float16" else 1e6)
    policy = dtype if dtype == "float32" else f"mixed_{dtype}"
    layer = built(GhostBatchNormalization(size, axis=axis, dtype=policy), x)
    mask, kept = None, np.ones(x.shape, bool)
    if masked:
        mask = mask_for(x, axis % x.ndim, size)
        kept = np.broadcast_to(np.expand_dims(mask, axis % x.ndim), x.shape)
        x = np.where(kept, x, np.nan)
    beta = to_float32(ops.cast(layer.beta, dtype))
    wanted = np.moveaxis(np.broadcast_to(beta, np.moveaxis(x, axis, -1).shape), -1, axis)
    x = ops.cast(x, dtype)
    calls = [compiled(layer)]
    if BACKEND == "tensorflow":  # Without XLA other operations run.
        calls.append(lambda x, mask: layer(x, training=True, mask=mask))
    for call in calls:
        np.testing.assert_array_equal(to_float32(call(x, mask))[kept], wanted[kept])


@pytest.mark.parametrize(("shape", "axis", "size"), [CASES[0], *CASES[3:]], ids=str)
@pytest.mark.parametrize("far", [1e2, 1e6])
def test_what_varies_little_far_from_zero(shape, axis, size, far):
    x, _ = inputs(19, shape)
    x = x + np.float32(far)
    layer = built(GhostBatchNormalization(size, axis=axis), x)
    gamma, beta, *_ = (np.asarray(w, np.float64) for w in layer.get_weights())
    y = to_float32(compiled(layer)(x))
    wanted, moments, _ = ghost_batch_norm(x, gamma, beta, size, axis, layer.epsilon)
    ratios = [np.abs(mean) / np.sqrt(variance + layer.epsilon) for _, mean, variance in moments]
    assert far / 10 < np.max(ratios) < 2e7
    off = np.abs(np.moveaxis(y - wanted, axis, -1))
    normalized = (np.moveaxis(wanted, axis, -1) - beta) / gamma
    assert (off <= 1e-5 * gamma * np.maximum(np.abs(normalized), 1) + 1e-6).all()


def overflows():
    """By name a batch of 12, whose groups of 4 samples overflow in some way, and its mask."""
    x = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
    seen = np.ones(12, bool)
    square, sums, spread, group = x.copy(), x.copy(), x.copy(), x.copy()
    square[5, 1] = 1e20
    sums[4:8, 1] = [3e38, 3e38, -3e38, -3e38]
    group[5, 1] = np.inf
    spread[4:8] = np.float32(1e20)
    hidden = np.where(np.arange(12) // 4 == 2, False, seen)
    some = np.where(np.arange(12) % 4 == 3, False, seen)
    return {
        "a square": (square, None),
        "a square, masked": (square, some),
        "a sum": (sums, None),
        "a sum, masked": (sums, some),
        "infinity": (group, some),
        "the spread of the groups": (spread, None),
        "the spread of the groups, masked": (spread, hidden),
    }


@pytest.mark.parametrize("statistics", MODES)
@pytest.mark.parametrize("case", overflows())
def test_an_overflow_leaves_the_moving_statistics_finite(case, statistics):
    x, mask = overflows()[case]
    layer = built(GhostBatchNormalization(4, statistics=statistics, momentum=0.9), x)
    gamma, beta, *moving = layer.get_weights()
    y, dx, _ = layer_gradients(layer, x, np.ones_like(x), mask)
    with np.errstate(over="ignore", invalid="ignore"):
        _, moments, _ = ghost_batch_norm(x, gamma, beta, 4, -1, layer.epsilon, mask=mask)
        groups = [[np.float64(np.float32(m)) for m in group] for group in moments]
        wanted = moving_statistics(moving, groups, 0.9, statistics)
        if not np.isfinite(np.float32(moving_statistics(moving, groups, 0.0, statistics))).all():
            wanted = moving
    for actual, value in zip(layer.get_weights()[2:], wanted, strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-5)
    # A group that is left out shows in its outputs and gradients, and in no other's.
    left_out = [not np.isfinite(np.stack(group[1:])).all() for group in groups]
    for values in (y, dx):
        shown = [not np.isfinite(values[group]).all() for group in ghost_groups(12, 4)]
        assert shown == left_out


def test_a_new_value_that_its_type_cannot_hold_is_not_taken():
    x = np.tile([[2000.0], [-2000.0]], (6, 3))  # a variance of 4e6, and float16 ends at 65504
    layer = built(GhostBatchNormalization(4, dtype="float16", momentum=0.0), x)
    before = layer.get_weights()
    y = to_float32(layer(ops.cast(x, "float16"), training=True))
    assert np.isfinite(y).all()
    for actual, value in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(actual, value)
