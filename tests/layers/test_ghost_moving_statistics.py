"""The moving statistics of GhostBatchNormalization against the float64 oracle."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch.layers import GhostBatchNormalization, _moving_statistics
from tests.layers.ghost_inputs import built, called, inputs, mask_for
from tests.oracles import ghost_batch_norm, moving_statistics


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("statistics", ["sequential", "mean", "batch"])
@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
def test_moving_statistics(statistics, momentum, masked):
    x, _ = inputs(1035, (3,), seed=3)
    layer = built(GhostBatchNormalization(4, momentum=momentum, statistics=statistics), x)
    gamma, beta, *moving = layer.get_weights()
    mask = mask_for(x, 1, 4) if masked else None
    for _ in range(3):
        _, moments, _ = ghost_batch_norm(x, gamma, beta, 4, -1, 1e-3, mask=mask)
        moving = moving_statistics(moving, moments, momentum, statistics)
        layer(x, training=True, mask=mask)
    for actual, wanted in zip(layer.get_weights()[2:], moving, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


def test_sequential_is_that_many_steps_of_plain_batch_norm():
    x, _ = inputs(96, (4, 3))
    ghost, plain = GhostBatchNormalization(32), keras.layers.BatchNormalization()
    called(ghost, x)
    for group in np.split(x, 3):
        plain(group, training=True)
    for actual, wanted in zip(ghost.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


def test_constant_statistics_are_a_fixed_point():
    # Algorithm 1 as printed gives 0.9 of them (papers' erratum 1).
    x = np.tile(np.array([[1.0], [3.0]], "float32"), (2048, 1))  # mean 2, variance 1 in each group
    layer = GhostBatchNormalization(8, momentum=0.9)
    layer.build(x.shape)
    layer.set_weights([np.ones(1), np.zeros(1), np.full(1, 2.0), np.ones(1)])
    called(layer, x)
    np.testing.assert_allclose(layer.get_weights()[2:], [[2.0], [1.0]], rtol=1e-6)


@pytest.mark.parametrize("statistics", ["sequential", "mean", "batch"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_group_that_is_not_finite_is_left_out(bad, statistics):
    x, _ = inputs(96, (3,))
    x[40, 1] = bad
    layer = built(GhostBatchNormalization(32, statistics=statistics), x)
    gamma, beta, *moving = layer.get_weights()
    y = ops.convert_to_numpy(layer(x, training=True))
    assert np.isfinite(y[:32]).all()
    assert np.isfinite(y[64:]).all()
    _, moments, _ = ghost_batch_norm(np.delete(x, np.s_[32:64], 0), gamma, beta, 32, -1, 1e-3)
    wanted = moving_statistics(moving, moments, 0.99, statistics)
    np.testing.assert_allclose(layer.get_weights()[2:], wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("statistics", ["sequential", "mean", "batch"])
def test_a_batch_with_nothing_finite_changes_nothing(statistics):
    x = np.full((96, 3), np.nan, "float32")
    layer = built(GhostBatchNormalization(32, statistics=statistics), x)
    before = layer.get_weights()
    y = ops.convert_to_numpy(layer(x, training=True))
    assert np.isnan(y).all()  # the problem stays visible in the outputs
    for a, b in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_batch_statistics_do_not_depend_on_the_groups():
    x, _ = inputs(100, (4, 3))
    ghost, plain = GhostBatchNormalization(8, statistics="batch"), keras.layers.BatchNormalization()
    called(ghost, x)
    called(plain, x)
    for actual, wanted in zip(ghost.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rows", [1024, 1025, 5000])
@pytest.mark.parametrize("channels", [1, 3])
def test_groups_that_come_after_are_counted_exactly(rows, channels):
    """In blocks where there are many; numbers of groups are exact in float32."""
    count = np.random.default_rng(0).integers(0, 2, (rows, channels)).astype("float32")
    after = np.cumsum(count[::-1], axis=0)[::-1] - count
    found = _moving_statistics._groups_after(ops.convert_to_tensor(count))
    np.testing.assert_array_equal(ops.convert_to_numpy(found), after)
