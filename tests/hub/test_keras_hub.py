"""KerasHub's networks: converted, trained, saved, read by another process, and plain again."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is installed by `make test-hub`")

from keras_bigbatch._measuring.batches import Batches  # noqa: E402
from keras_bigbatch._measuring.dataset_loss import DatasetLoss  # noqa: E402
from keras_bigbatch.layers import (  # noqa: E402
    GhostBatchNormalization,
    renew_statistics,
    to_ghost,
    to_plain,
)
from tests.hub.networks import NETWORKS  # noqa: E402

PLAIN = keras.layers.BatchNormalization
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Where each network leaves its file and predictions for another process."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(autouse=True)
def initial_values(monkeypatch):
    """By NumPy: JAX would compile a program for each shape."""

    def zeros(self, shape, dtype=None):
        return np.zeros(shape, "float32")

    for each in ("VarianceScaling", "RandomNormal", "TruncatedNormal"):
        kind = getattr(keras.initializers, each)
        monkeypatch.setattr(kind, "__call__", zeros)


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
    """One update from all of the data."""
    x, y = data(model)
    optimizer = keras.optimizers.SGD(0.01, **options)
    losses = {}
    if not isinstance(model, keras_hub.models.ObjectDetector | keras_hub.models.ImageClassifier):
        losses = {"loss": dict.fromkeys(y, "mse") if isinstance(y, dict) else "mse"}
    jit = keras.backend.backend() == "jax"  # on TensorFlow it would only take longer
    model.compile(optimizer, **losses, jit_compile=jit)
    model.fit(x, y, batch_size=batch_size, shuffle=False, verbose=0)


def predictions(model):
    return keras.tree.flatten(model.predict(data(model)[0], verbose=0))


def assert_same(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one, other)


# KerasHub's tasks have a `compile` of their own, and its feature pyramid has batch norms whose
# output it does not use.
@pytest.mark.filterwarnings("ignore:Gradients do not exist for variables:UserWarning")
@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called:UserWarning")
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

    The gradients are averaged over both, and the moving statistics see one after the other. The
    whole batch's statistics would change the updates, of some 1e-3, by as much.
    """
    fitted(ghost, 8)
    fitted(reference, 4, gradient_accumulation_steps=2)
    for one, other in zip(ghost.weights, reference.weights, strict=True):
        one, other = (keras.ops.convert_to_numpy(each) for each in (one, other))
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=1e-5)


def assert_weights_go_both_ways(ghost, model, path):
    before = model.get_weights()
    for source, target in ((model, ghost), (ghost, model)):
        source.save_weights(path)
        target.set_weights([np.zeros_like(each) for each in before])
        target.load_weights(path)
        assert_same(target.get_weights(), before)


def test_files_in_a_fresh_process(files):
    written = sorted(path.stem for path in files.glob("*.keras"))
    if not written:
        pytest.skip("no network was tested before")
    command = [sys.executable, "-m", "tests.hub.read_files", str(files)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]
    read = json.loads(process.stdout.splitlines()[-1])
    for name in written:
        count = len(norms(NETWORKS[name]()))
        assert read[name] == {"equal": True, "sizes": [4] * count}, name


@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called:UserWarning")
def test_a_task_of_a_converted_backbone(tmp_path):
    backbone = to_ghost(made("mobilenet"), 4)
    task = keras_hub.models.MobileNetImageClassifier(backbone=backbone, num_classes=3)
    inside = to_ghost(task, 2).backbone  # converted once more, and taken out again
    for model, size in ((task, 4), (inside, 2)):
        path = tmp_path / f"{size}.keras"
        model.save(path)
        loaded = keras.models.load_model(path)
        assert [part.virtual_batch for part in norms(loaded)] == [size] * len(norms(backbone))
        assert_same(predictions(loaded), predictions(model))


def test_a_copy_keeps_the_types_or_is_refused():
    keras.config.set_dtype_policy("bfloat16")
    written, left_out = NETWORKS["mobilenet"](), NETWORKS["densenet"]()
    keras.config.set_dtype_policy("float32")
    ghost = to_ghost(written, 4)
    assert {part.compute_dtype for part in norms(ghost)} == {"bfloat16"}
    with pytest.raises(ValueError, match=r"as float32 and not bfloat16.*in_place=True"):
        to_ghost(left_out, 4)
    assert all(type(part) is PLAIN for part in norms(left_out))
    to_ghost(left_out, 4, in_place=True)
    assert all(isinstance(part, GhostBatchNormalization) for part in norms(left_out))


def test_what_a_config_leaves_out_is_named():
    """KerasHub's config of an EfficientNet does not have the width of its last layer."""
    model = NETWORKS["efficientnet"](num_features=16)
    with pytest.raises(ValueError, match=r"'top_conv/kernel' with shape .*1280.*in_place=True"):
        to_ghost(model, 4)


def test_instruments_take_the_pictures_that_fit_takes():
    """Not yet preprocessed: `model(x)` would not do it."""
    model, bare = (to_ghost(made("densenet_classifier"), 4) for _ in range(2))
    x, y = data(model)
    renew_statistics(model, x, verbose=0)
    prepared, bare.preprocessor = bare.preprocessor(x), None
    renew_statistics(bare, prepared, verbose=0)
    assert_same(model.get_weights(), bare.get_weights())
    loss = DatasetLoss(model, Batches(x, y)).loss()
    assert loss == pytest.approx(model.evaluate(x, y, verbose=0, return_dict=True)["loss"])
