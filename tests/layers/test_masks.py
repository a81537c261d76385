"""Masks of GhostBatchNormalization: every one that Keras's batch norm takes, and what it means."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch.layers import GhostBatchNormalization, to_ghost
from tests.autodiff import layer_gradients
from tests.layers.ghost_inputs import built, called, inputs, relative
from tests.oracles import ghost_batch_norm, moving_statistics

BATCH = 24
# The input's shape without the batch, the channels' axis, the mask's shape. Keras adds a last axis
# to the mask and broadcasts it, whatever the channels' axis is.
CASES = [
    ((5, 6, 4), -1, (BATCH, 5, 1)),
    ((5, 6, 4), -1, (BATCH, 1, 1)),
    ((5, 6, 4), 3, (1, 5, 6)),
    ((5, 3), 1, (BATCH, 5)),
    ((5, 4), 1, (1, 5)),
    ((3, 4, 5), 1, (BATCH, 3, 4)),
    ((3, 4, 5), 1, (BATCH, 3, 1)),
    ((3, 4, 5), 1, (BATCH, 1, 4)),
    ((4, 3, 5), 2, (BATCH, 4, 3)),
]
arguments = ("shape", "axis", "mask_shape")
one_group = pytest.mark.filterwarnings("ignore:.*all of the batch is one group")


def mask_of(shape, seed=7):
    return np.random.default_rng(seed).uniform(size=shape) > 0.3


def by_channel(x, mask, axis, layer, dy):
    """The oracle for one channel after the other, each with the part of Keras's mask that is its.

    Returns the output, the gradient to x, and the moving statistics.
    """
    whole = np.moveaxis(np.broadcast_to(mask[..., None], x.shape), axis, -1)
    x, dy = (np.moveaxis(each, axis, -1) for each in (x, dy))
    y, dx, moving = np.empty(x.shape), np.empty(x.shape), []
    values = zip(*layer.get_weights(), strict=True)
    for c, (gamma, beta, mean, variance) in enumerate(values):
        one = slice(c, c + 1)
        y[..., one], moments, (dx[..., one], *_) = ghost_batch_norm(
            x[..., one], gamma, beta, layer.virtual_batch, -1, 1e-3, dy[..., one], whole[..., c]
        )
        old = np.array([mean]), np.array([variance])
        moving.append(moving_statistics(old, moments, layer.momentum, layer.statistics))
    return *(np.moveaxis(each, -1, axis) for each in (y, dx)), np.squeeze(moving, -1).T


@pytest.mark.parametrize(
    (*arguments, "statistics"),
    [*((*case, "sequential") for case in CASES), (*CASES[3], "batch"), (*CASES[5], "mean")],
    ids=str,
)
def test_against_the_oracle(shape, axis, mask_shape, statistics):
    x, dy = inputs(BATCH, shape)
    mask = mask_of(mask_shape)
    if mask_shape[0] > 1:
        mask[8:16] = mask_shape[1] == 1  # a group that some channels or all are masked in
        mask[8:16, :1] = False
    layer = built(GhostBatchNormalization(8, axis, momentum=0.9, statistics=statistics), x)
    expected, expected_dx, moving = by_channel(x, mask, axis, layer, dy)
    y, dx, _ = layer_gradients(layer, x, dy, mask)
    # A fully masked group has mean and variance 0: its values are multiplied by 1 / sqrt(epsilon).
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
    assert relative(dx, expected_dx) < 1e-4
    np.testing.assert_allclose(layer.get_weights()[2:], moving, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("statistics", ["sequential", "batch", "mean"])
def test_replicas_exchange_counts_of_channels(statistics, monkeypatch):
    """Two replicas, one after the other: the second time each gets the rows of both."""
    x, dy = inputs(BATCH, (5, 3))
    mask = mask_of((BATCH, 5))
    mask[:4, 0] = mask[12:, 1] = False  # a group, and a replica

    def layer():
        return built(GhostBatchNormalization(4, 1, momentum=0.9, statistics=statistics), x)

    *_, wanted = by_channel(x, mask, 1, layer(), dy)
    replicas, rows = _backend.active().replicas, []
    monkeypatch.setattr(replicas, "replicas", lambda: 2)
    monkeypatch.setattr(replicas, "gather_rows", lambda row: rows.append(row) or row[None])
    for half in (slice(12), slice(12, None)):
        layer()(x[half], training=True, mask=ops.convert_to_tensor(mask[half]))
    monkeypatch.setattr(replicas, "gather_rows", lambda row: ops.stack(rows))
    trained = layer()
    called(trained, x[:12], mask[:12])
    np.testing.assert_allclose(trained.get_weights()[2:], wanted, rtol=1e-5, atol=1e-5)


@one_group
@pytest.mark.parametrize(arguments, [*CASES[:2], *CASES[3:6]], ids=str)
def test_one_group_is_keras_own_layer(shape, axis, mask_shape):
    x, _ = inputs(BATCH, shape)
    mask = mask_of(mask_shape)
    ghost = built(GhostBatchNormalization(100, axis), x)
    plain = built(keras.layers.BatchNormalization(axis), x)
    outputs = [called(layer, x, mask) for layer in (ghost, plain)]
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=1e-5)
    # A channel without a value has no moments: Keras moves its statistics towards 0.
    whole = np.moveaxis(np.broadcast_to(mask[..., None], x.shape), axis, -1)
    seen = whole.any(axis=tuple(range(x.ndim - 1)))
    for a, b in zip(ghost.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a[seen], b[seen], rtol=1e-5, atol=1e-6)


@one_group
@pytest.mark.parametrize(("axis", "virtual_batch"), [(1, 16), (-1, 16), (1, 4)])
def test_a_converted_model_trains_after_a_masking_layer(axis, virtual_batch):
    x, y = inputs(16, (5, 3))
    x[:7, 2] = 0.0
    layers = [keras.layers.Masking(), keras.layers.BatchNormalization(axis=axis, momentum=0.9)]
    plain = keras.Sequential([keras.Input((5, 3)), *layers])
    ghost = to_ghost(plain, virtual_batch)
    for model in (plain, ghost):
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    assert np.isfinite(ghost.predict(x, verbose=0)).all()
    if virtual_batch == 16:
        for a, b in zip(ghost.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has such")
@pytest.mark.parametrize("axis", [1, -1])
def test_sizes_that_are_not_known_when_the_program_is_made(axis):
    import tensorflow as tf

    shape = (None, 3, None) if axis == 1 else (None, None, 3)
    layer = GhostBatchNormalization(8, axis)
    layer.build(shape)
    signature = [tf.TensorSpec(shape), tf.TensorSpec((None, None), tf.bool)]
    run = tf.function(lambda x, mask: layer(x, training=True, mask=mask), signature)
    x, _ = inputs(BATCH, (3, 5) if axis == 1 else (5, 3))
    # With channels first Keras takes this one only where it fits by chance.
    for mask in (mask_of((BATCH, 5)), mask_of((BATCH, 1))):
        gamma, beta, *moving = layer.get_weights()
        whole = np.broadcast_to(mask, (BATCH, 5))
        expected, moments, _ = ghost_batch_norm(x, gamma, beta, 8, axis, 1e-3, mask=whole)
        np.testing.assert_allclose(run(x, mask), expected, rtol=1e-4, atol=1e-4)
        moving = moving_statistics(moving, moments, 0.99, "sequential")
        np.testing.assert_allclose(layer.get_weights()[2:], moving, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("entry", [bool, float, np.bool_], ids=lambda each: each.__name__)
def test_a_nested_list_is_a_mask(training, entry):
    x, _ = inputs(BATCH, (5, 3))
    mask = mask_of((BATCH, 5))
    pool = keras.layers.GlobalAveragePooling1D()
    results = []
    for given in (ops.convert_to_tensor(mask), [[entry(kept) for kept in row] for row in mask]):
        layer = built(GhostBatchNormalization(8), x)
        y = layer(x, training=training, mask=given)
        # The mask goes on to the layer after it.
        results.append([*map(ops.convert_to_numpy, (y, pool(y))), *layer.get_weights()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(BATCH,), (BATCH, 4, 3), (BATCH, 3), (2, 4)])
def test_a_mask_that_does_not_fit_says_what_would(shape):
    x, _ = inputs(BATCH, (4, 3))
    with pytest.raises(ValueError, match=r"without the channel axis.*mask\.shape"):
        GhostBatchNormalization(4)(x, training=True, mask=np.ones(shape, bool))
