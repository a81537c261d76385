"""A backend's own ghost batch norm against the reference in `keras.ops`, on that backend."""

import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch.layers import GhostBatchNormalization
from tests.autodiff import layer_gradients
from tests.backend.ghost_norm_cases import BACKEND, data

pytestmark = pytest.mark.usefixtures("tiles")

# Channels last, first with few and with many positions, and in between; rank 2 has none.
SHAPES = [((6,), 1), ((4, 3, 6), 3), ((6, 4, 3), 1), ((2, 12, 12), 1), ((4, 6, 3), 2)]
if BACKEND == "jax":
    SHAPES = SHAPES[:1]  # JAX's form is the reference but for rank 2.
BATCHES = [1, 7, 8, 9, 15, 64, 67]


def both(monkeypatch, layer, x, dy):
    """Results of the backend's own form and of the reference, from the same layer state."""
    state = layer.get_weights()
    results = []
    for reference in (False, True):
        layer.set_weights(state)
        for variable in layer.trainable_variables:
            if BACKEND == "torch":
                variable.value.grad = None
        with monkeypatch.context() as patch:
            if reference:
                patch.setattr(
                    _backend.active().ghost_norm, "ghost_normalize", ghost_norm.ghost_normalize
                )
            y, dx, gradients = layer_gradients(layer, x, dy)
        results.append([y, dx, *gradients, *layer.get_weights()[-2:]])
    return zip(*results, strict=True)


@pytest.mark.filterwarnings("ignore:.*all of the batch is one group")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_float32(monkeypatch, shape, axis, batch):
    x, dy = data(batch, shape)
    layer = GhostBatchNormalization(8, axis=axis)
    layer.build(x.shape)
    for actual, wanted in both(monkeypatch, layer, x, dy):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_half_precision(monkeypatch, shape, axis, dtype):
    x, dy = data(67, shape, dtype)
    layer = GhostBatchNormalization(8, axis=axis, dtype=f"mixed_{dtype}")
    layer.build(x.shape)
    rounding = {"bfloat16": 2.0**-7, "float16": 2.0**-10}[dtype]
    y, dx, *float32 = both(monkeypatch, layer, x, dy)
    for actual, wanted in (y, dx):
        np.testing.assert_allclose(
            actual.astype("float32"), wanted.astype("float32"), rtol=2 * rounding, atol=rounding
        )
    # What is float32 in both differs by the rounding of `dy` alone, which is the same.
    for actual, wanted in float32:
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_without_gamma_or_beta(monkeypatch, center, scale):
    x, dy = data(19, (4, 6))
    layer = GhostBatchNormalization(8, center=center, scale=scale)
    layer.build(x.shape)
    for actual, wanted in both(monkeypatch, layer, x, dy):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-5)
