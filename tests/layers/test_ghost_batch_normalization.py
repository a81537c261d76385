"""GhostBatchNormalization against the float64 oracle and against Keras's own batch norm."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch.layers import GhostBatchNormalization
from tests.autodiff import input_hessian_product, layer_gradients
from tests.layers.ghost_inputs import SHAPES, built, called, inputs, mask_for, relative
from tests.oracles import ghost_batch_norm, moving_statistics

pytestmark = pytest.mark.filterwarnings("ignore:.*all of the batch is one group")


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("batch", "virtual_batch"), [(96, 32), (107, 32), (384, 128), (300, 128)])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_against_the_oracle(shape, axis, batch, virtual_batch, masked):
    x, dy = inputs(batch, shape)
    layer = built(GhostBatchNormalization(virtual_batch, axis=axis, momentum=0.9), x)
    gamma, beta, *moving = (np.asarray(w, np.float64) for w in layer.get_weights())
    mask = mask_for(x, axis % x.ndim, virtual_batch) if masked else None

    y, dx, (dgamma, dbeta) = layer_gradients(layer, x, dy, mask)

    expected, moments, gradients = ghost_batch_norm(
        x, gamma, beta, virtual_batch, axis, layer.epsilon, dy, mask
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    for actual, wanted in zip((dx, dgamma, dbeta), gradients, strict=True):
        assert relative(actual, wanted) < 1e-4
    for actual, wanted in zip(
        layer.get_weights()[2:], moving_statistics(moving, moments, 0.9, "sequential"), strict=True
    ):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [16, 19, 7])
def test_second_derivatives(batch):
    # What Hessian products need; the variance's shift must not be lost to them.
    x, dy = inputs(batch, (2, 3))
    v = np.random.default_rng(5).normal(size=x.shape).astype("float32")
    layer = built(GhostBatchNormalization(8), x)
    gamma, beta, *_ = (np.asarray(w, np.float64) for w in layer.get_weights())

    def gradient(at):
        return ghost_batch_norm(at, gamma, beta, 8, -1, layer.epsilon, dy)[2][0]

    step = 1e-4
    expected = (
        gradient(x + step * v.astype("float64")) - gradient(x - step * v.astype("float64"))
    ) / (2 * step)
    assert relative(input_hessian_product(layer, x, dy, v), expected) < 1e-3


@pytest.mark.parametrize("batch", [7, 128])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_one_group_is_plain_batch_norm(shape, axis, batch):
    x, dy = inputs(batch, shape)
    ghost = built(GhostBatchNormalization(128, axis=axis), x)
    plain = built(keras.layers.BatchNormalization(axis=axis), x)
    y, dx, gradients = layer_gradients(ghost, x, dy)
    plain_y, plain_dx, plain_gradients = layer_gradients(plain, x, dy)
    np.testing.assert_allclose(y, plain_y, rtol=1e-5, atol=1e-5)
    assert relative(dx, plain_dx) < 1e-5
    for actual, wanted in zip(gradients, plain_gradients, strict=True):
        assert relative(actual, wanted) < 1e-5
    for actual, wanted in zip(ghost.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-6, atol=1e-6)


def test_one_group_with_a_mask_is_plain_batch_norm():
    x, _ = inputs(20, (6, 3))
    mask = mask_for(x, -1, 100)
    ghost = built(GhostBatchNormalization(100), x)
    plain = built(keras.layers.BatchNormalization(), x)
    actual, wanted = (called(layer, x, mask) for layer in (ghost, plain))
    np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-5)
    for a, b in zip(ghost.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 31, 32, 33, 63, 65, 83, 89, 848])
def test_any_batch_size(batch):
    x, dy = inputs(batch, (5, 3))
    layer = built(GhostBatchNormalization(32), x)
    gamma, beta, *moving = layer.get_weights()
    y, dx, _ = layer_gradients(layer, x, dy)
    expected, moments, gradients = ghost_batch_norm(x, gamma, beta, 32, -1, 1e-3, dy)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert relative(dx, gradients[0]) < 1e-4
    wanted = moving_statistics(moving, moments, 0.99, "sequential")
    np.testing.assert_allclose(layer.get_weights()[2:], wanted, rtol=1e-6, atol=1e-6)
    whole = ops.convert_to_numpy(layer(x, training=False))
    one_by_one = np.concatenate([ops.convert_to_numpy(layer(row[None])) for row in x[:5]])
    np.testing.assert_allclose(one_by_one, whole[:5], rtol=1e-6, atol=1e-6)


def test_far_from_zero_it_stays_exact():
    # E[x^2] - E[x]^2 gives NaN here in float32.
    x, _ = inputs(128, (3,))
    x = x + np.float32(1e4)
    layer = GhostBatchNormalization(32)
    y = called(layer, x)
    expected, _, _ = ghost_batch_norm(x, 1.0, 0.0, 32, -1, 1e-3)
    np.testing.assert_allclose(y, expected, atol=2e-2)


def test_inference_is_that_of_plain_batch_norm():
    x, _ = inputs(50, (4, 3))
    ghost = built(GhostBatchNormalization(8), x)
    plain = built(keras.layers.BatchNormalization(), x)
    wanted = ops.convert_to_numpy(plain(x, training=False))
    before = ghost.get_weights()
    np.testing.assert_array_equal(ops.convert_to_numpy(ghost(x, training=False)), wanted)
    np.testing.assert_array_equal(ops.convert_to_numpy(ghost(x)), wanted)
    ghost.trainable = False
    np.testing.assert_array_equal(ops.convert_to_numpy(ghost(x, training=True)), wanted)
    for a, b in zip(ghost.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_masked_positions_may_hold_anything():
    x, _ = inputs(64, (6, 3))
    mask = mask_for(x, -1, 1000)
    layer = built(GhostBatchNormalization(16), x)
    other = built(GhostBatchNormalization(16), x)
    clean = called(layer, x, mask)
    y = called(other, np.where(mask[..., None], x, np.nan), mask)
    np.testing.assert_array_equal(y[mask], clean[mask])
    for a, b in zip(layer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_mask_of_an_embedding_arrives():
    model = keras.Sequential(
        [keras.layers.Embedding(10, 3, mask_zero=True), GhostBatchNormalization(4, momentum=0.0)]
    )
    tokens = np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6], [7, 0, 0]] * 2)
    model(tokens, training=True)
    vectors = model.layers[0].get_weights()[0][tokens]
    seen = vectors[4:][tokens[4:] != 0]
    np.testing.assert_allclose(model.layers[1].get_weights()[2], seen.mean(0), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_input_has_float32_statistics(dtype):
    x, _ = inputs(96, (4, 3))
    x = ops.convert_to_numpy(ops.cast(ops.cast(x * 100, dtype), "float32"))  # squares overflow
    layer = GhostBatchNormalization(32, dtype=f"mixed_{dtype}", momentum=0.0)
    y = called(layer, ops.cast(x, dtype))
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.variables} == {"float32"}
    expected, moments, _ = ghost_batch_norm(x, 1.0, 0.0, 32, -1, 1e-3)
    np.testing.assert_allclose(y.astype("float32"), expected, atol=2e-2)
    np.testing.assert_allclose(layer.get_weights()[0 + 2], moments[-1][1], rtol=1e-5, atol=1e-4)


def test_float64_stays_float64():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras promotes float64 to float32 on this backend")
    x, _ = inputs(96, (4, 3))
    layer = GhostBatchNormalization(32, dtype="float64")
    y = ops.convert_to_numpy(layer(x.astype("float64"), training=True))
    expected, _, _ = ghost_batch_norm(x.astype("float64"), 1.0, 0.0, 32, -1, 1e-3)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_without_gamma_or_beta(center, scale):
    x, _ = inputs(96, (4, 3))
    layer = GhostBatchNormalization(32, center=center, scale=scale)
    y = called(layer, x)
    expected, _, _ = ghost_batch_norm(x, 1.0, 0.0, 32, -1, 1e-3)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert len(layer.weights) == 2 + center + scale


@pytest.mark.parametrize(("shape", "axis"), [((0,), -1), ((4, 0), -1), ((0, 4), 1)])
def test_no_channels_pass_as_in_keras(shape, axis):
    x, mask = np.zeros((20, *shape), "float32"), np.ones((20, *shape[:-1]), bool)
    for layer in (GhostBatchNormalization(8, axis), keras.layers.BatchNormalization(axis)):
        assert layer(x, training=True).shape == x.shape
        assert [weight.shape for weight in layer.get_weights()] == [(0,)] * 4
    assert GhostBatchNormalization(8, axis)(x, training=True, mask=mask).shape == x.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"virtual_batch": 0}, "positive integer"),
        ({"virtual_batch": 1.5}, "positive integer"),
        ({"virtual_batch": True}, "positive integer"),
        ({"statistics": "median"}, "'sequential', 'mean', 'batch'"),
        ({"momentum": 1.5}, r"in \[0, 1\]"),
        ({"axis": 0}, "axis 0 is the batch"),
        ({"renorm": True}, "renorm=True"),
        ({"synchronized": True}, "synchronized=True"),
    ],
)
def test_bad_arguments_raise_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        GhostBatchNormalization(**arguments)


@pytest.mark.parametrize("axis", [-3, 3, -4])
def test_an_axis_that_is_not_there_raises_at_build(axis):
    with pytest.raises(ValueError, match="input of rank 3"):
        GhostBatchNormalization(axis=axis).build((None, 4, 3))
