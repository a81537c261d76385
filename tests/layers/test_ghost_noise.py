"""GhostNoise against the float64 oracle, given what it draws, and against closed forms."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch import _user_warnings
from keras_bigbatch.layers import GhostNoise, _ghost_noise
from keras_bigbatch.layers._drawn_moments import Moments, drawn_moments
from tests.autodiff import layer_gradients
from tests.layers.ghost_inputs import SHAPES, called, inputs, mask_for
from tests.oracles import ghost_noise
from tests.user_warnings import assert_said_once, recorded

SEED = 7


def drawn(batch, virtual_batch):
    """What a layer of this seed draws first."""
    generator = keras.random.SeedGenerator(SEED)
    return ops.convert_to_numpy(
        keras.random.randint((batch, virtual_batch), 0, batch, "int32", generator)
    )


def noisy(x, virtual_batch=8, mask=None, **options):
    return called(GhostNoise(virtual_batch, seed=SEED, **options), x, mask)


# A batch that is smaller than the groups, and groups of two, of which some are masked throughout.
CASES = [(*case, 24, 8, False) for case in SHAPES]
CASES += [(*case, 7, 16, True) for case in SHAPES[1::2]]
CASES += [(*case, 24, 2, True) for case in SHAPES[2::2]]


@pytest.mark.parametrize(("shape", "axis", "batch", "virtual_batch", "masked"), CASES, ids=str)
def test_against_the_oracle(shape, axis, batch, virtual_batch, masked):
    x, dy = inputs(batch, shape)
    mask, wide = None, True
    if masked:
        mask = mask_for(x, axis % x.ndim, 8)  # of 24 samples a third is masked throughout
        wide = np.expand_dims(mask, axis % x.ndim)
    layer = GhostNoise(virtual_batch, axis, seed=SEED)
    layer.build(x.shape)
    y, dx, _ = layer_gradients(layer, x, dy, mask)
    wanted, factor = ghost_noise(x, drawn(batch, virtual_batch), axis, 1e-3, wide)
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
    # The gradient of an affine map: none flows through the statistics.
    np.testing.assert_allclose(dx, factor * dy, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("shape", "mask_shape"), [((5, 3), (24, 5)), ((3, 4, 5), (24, 3, 1))])
def test_a_mask_that_tells_channels_apart(shape, mask_shape):
    x, _ = inputs(24, shape)
    mask = np.random.default_rng(7).uniform(size=mask_shape) > 0.3
    y = called(GhostNoise(4, 1, seed=SEED), x, mask)
    # Keras adds a last axis and broadcasts, whatever the channels' axis is.
    wanted, _ = ghost_noise(x, drawn(24, 4), 1, 1e-3, mask[..., None])
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)


def test_masked_positions_may_hold_anything():
    x, _ = inputs(24, (6, 3))
    mask = mask_for(x, -1, 8)
    clean, y = (noisy(each, mask=mask) for each in (x, np.where(mask[..., None], x, np.nan)))
    np.testing.assert_array_equal(y[mask], clean[mask])


@pytest.mark.parametrize("shape", [(), (3, 2)], ids=["vectors", "images"])
def test_the_noise_has_the_mean_and_variance_of_sampling(shape):
    batch, size = 1500, 16
    x = np.random.default_rng(3).normal(1, 2, size=(batch, *shape, 3)).astype("float32")
    layer = GhostNoise(size, epsilon=1e-6, seed=SEED)
    layer.build(x.shape)
    y, scale, _ = layer_gradients(layer, x, np.ones_like(x))
    x, y, scale = (each.reshape(batch, -1, 3).astype("float64") for each in (x, y, scale))
    mean, variance = x.mean((0, 1)), x.var((0, 1))
    means = (x - (y - mean) / scale)[:, 0]
    variances = (variance / scale**2)[:, 0]
    # Given the batch, the groups are independent draws: these bounds are four standard errors.
    of_mean = x.mean(1).var(0) / size  # without positions the variance over the group
    np.testing.assert_allclose(means.mean(0), mean, atol=4 * np.sqrt(of_mean.max() / batch))
    np.testing.assert_allclose(means.var(0), of_mean, rtol=4 * np.sqrt(2 / batch))
    error = 4 * variances.std(0).max() / np.sqrt(batch)
    np.testing.assert_allclose(variances.mean(0), variance - of_mean, atol=error)
    if not shape:
        # Of normal features variance / variances is size / (chi squared of size - 1).
        np.testing.assert_allclose((scale**2).mean((0, 1)), size / (size - 3), rtol=0.05)


def test_a_group_like_the_batch_adds_nothing():
    x = np.repeat(inputs(1, (4, 3))[0], 20, axis=0)
    np.testing.assert_allclose(noisy(x, 5), x, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(noisy(np.full((20, 3), 7.3, "float32")), np.float32(7.3))


@pytest.mark.parametrize("far", [1e4, 1e6])
def test_far_from_zero_it_stays_exact(far):
    # E[x^2] - E[x]^2 has no digit left here in float32.
    x, _ = inputs(64, (3,))
    x = x + np.float32(far)
    wanted, factor = ghost_noise(x, drawn(64, 16), -1, 1e-3)
    # What remains is the rounding of the output.
    np.testing.assert_allclose(noisy(x, 16), wanted, rtol=2e-7, atol=1e-4 * factor.max())


def test_rounding_of_the_centre_does_not_matter(monkeypatch):
    def off(*given):
        centre, *moments = drawn_moments(*given)
        return centre - 1, *(Moments(each.mean + 1, each.variance) for each in moments)

    x, _ = inputs(24, (4, 3))
    monkeypatch.setattr(_ghost_noise, "drawn_moments", off)
    np.testing.assert_allclose(noisy(x), ghost_noise(x, drawn(24, 8), -1, 1e-3)[0], atol=1e-4)


def test_in_inference_the_output_is_the_input():
    x, _ = inputs(12, (4, 3))
    layer = GhostNoise(4, seed=SEED)
    before = ops.convert_to_numpy(layer.seed_generator.state.value)
    for training in (False, None):
        np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=training)), x)
    layer.trainable = False
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, training=True)), x)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.seed_generator.state.value), before)
    assert layer.get_weights() == []


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_input_has_float32_statistics(dtype):
    x, _ = inputs(24, (4, 3))
    x = ops.convert_to_numpy(ops.cast(ops.cast(x * 100, dtype), "float32"))  # squares overflow
    y = GhostNoise(8, seed=SEED, dtype=f"mixed_{dtype}")(ops.cast(x, dtype), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    wanted, _ = ghost_noise(x, drawn(24, 8), -1, 1e-3)
    rounding = {"float16": 2**-10, "bfloat16": 2**-7}[dtype]
    y = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(y, wanted, rtol=rounding, atol=1e-3)


def test_float64_stays_float64():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras promotes float64 to float32 on this backend")
    x = inputs(24, (4, 3))[0].astype("float64")
    y = noisy(x, dtype="float64")
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, ghost_noise(x, drawn(24, 8), -1, 1e-3)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), [((0,), -1), ((4, 0), -1), ((0, 4), 1)])
def test_no_channels_and_no_samples_pass(shape, axis):
    for batch in (20, 0):
        x = np.zeros((batch, *shape), "float32")
        assert GhostNoise(8, axis)(x, training=True).shape == x.shape
    assert GhostNoise(8)(np.zeros((0, 3), "float32"), training=True).shape == (0, 3)


@pytest.mark.parametrize("training", [True, False])
def test_a_nested_list_is_a_mask(training):
    x, _ = inputs(24, (5, 3))
    mask = mask_for(x, -1, 8)
    pool = keras.layers.GlobalAveragePooling1D()
    results = []
    for given in (ops.convert_to_tensor(mask), mask.tolist()):
        y = GhostNoise(8, seed=SEED)(x, training=training, mask=given)
        results.append([*map(ops.convert_to_numpy, (y, pool(y)))])  # the mask goes on
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"virtual_batch": 0}, "positive integer"),
        ({"virtual_batch": 1.5}, "positive integer"),
        ({"epsilon": 0}, "`epsilon` must be a positive, finite number"),
        ({"seed": -1}, "`seed` must be an integer of 0 or more"),
        ({"seed": 0.5}, "`seed` must be an integer of 0 or more"),
        ({"axis": 0}, "axis 0 is the batch"),
        ({"axis": [1, 2]}, "`axis` must be an integer"),
    ],
)
def test_bad_arguments_raise_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        GhostNoise(**{"virtual_batch": 8, **arguments})


def test_what_does_not_fit_raises_at_the_first_call():
    for axis in (-3, 3, -4):
        with pytest.raises(ValueError, match="input of rank 3"):
            GhostNoise(8, axis).build((None, 4, 3))
    layer = GhostNoise(8, axis=2)
    layer.build((None, 4, 3))
    with pytest.raises(ValueError, match="expected ndim=3"):
        layer(np.zeros((8, 3), "float32"), training=True)
    with pytest.raises(ValueError, match=r"up to 46340 samples.*a batch of 50000"):
        GhostNoise(8)(np.zeros((50_000, 1), "float32"), training=True)
    with pytest.raises(ValueError, match=r"without the channel axis.*mask\.shape"):
        GhostNoise(8)(np.zeros((8, 4, 3), "float32"), training=True, mask=np.ones((8, 3), bool))


def test_groups_of_one_value_warn(monkeypatch):
    monkeypatch.setattr(_user_warnings, "_given", set())
    with recorded() as said:
        GhostNoise(1).build((None, 3))
    assert_said_once(said, "output is divided by the root of `epsilon`", __file__)
    GhostNoise(1).build((None, 4, 3))
