"""Models of other libraries that carry Keras 3's batch norm."""

import keras
import numpy as np
import pytest

from keras_bigbatch.layers import GhostBatchNormalization, to_ghost, to_plain

PLAIN = keras.layers.BatchNormalization
SHAPE = (64, 64, 3)


def kimm():
    models = pytest.importorskip("kimm", reason="`make test-hub` installs it").models
    return models.MobileNetV2W050(weights=None, input_shape=SHAPE, classes=5)


def kyolo():
    build = pytest.importorskip("kyolo", reason="`make test-hub` installs it").build_yolov8
    return build("n", nc=5, input_shape=SHAPE)


def medicai():
    models = pytest.importorskip("medicai.models", reason="`make test-hub` installs it")
    return models.UNet(input_shape=SHAPE, encoder_name="resnet18", num_classes=2)


def norms(model):
    return [part for part in model._flatten_layers() if isinstance(part, PLAIN)]


@pytest.mark.parametrize("make", [kimm, kyolo, medicai])
def test_a_network_there_and_back(make, tmp_path, monkeypatch):
    draw = np.random.default_rng(0).normal  # by NumPy: JAX would compile a program for each shape

    def small(self, shape, dtype=None):
        return 0.05 * draw(size=shape).astype("float32")

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", small)
    model = make()
    x = draw(size=(4, *SHAPE)).astype("float32")

    def predictions(of):
        return keras.tree.flatten(of.predict(x, verbose=0))

    ghost = to_ghost(model, 2)
    assert len(norms(ghost)) == len(norms(model)) > 20
    ghost.save(tmp_path / "ghost.keras")
    # kimm does not register its classes: Keras must be told of them, with plain layers too.
    known = {type(model).__name__: type(model)}
    loaded = keras.models.load_model(tmp_path / "ghost.keras", custom_objects=known)
    wanted = predictions(model)
    for converted in (ghost, loaded):
        assert all(isinstance(part, GhostBatchNormalization) for part in norms(converted))
        assert [part.virtual_batch for part in norms(converted)] == [2] * len(norms(model))
        for one, other in zip(predictions(converted), wanted, strict=True):
            np.testing.assert_array_equal(one, other)
    assert all(type(part) is PLAIN for part in norms(to_plain(loaded)))
