"""The pipelines, offline: TensorFlow Datasets' mock for images, and MNIST-1D through its files."""

import sys

import keras
import numpy as np
import pytest

from reproduction.data import pipelines
from tests.reproduction.helpers import batches, whole

tf = pytest.importorskip("tensorflow")
tfds = pytest.importorskip("tensorflow_datasets")
if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data's operations, whatever trains", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("mnist1d_builder")
SAMPLES = 23  # of the mock, in each split
IN_MEMORY = {
    "mnist": ((28, 28, 1), 10, "mnist_crop_flip"),
    "fashion_mnist": ((28, 28, 1), 10, "mnist_crop_flip"),
    "cifar10": ((32, 32, 3), 10, "cifar_crop_flip"),
    "cifar100": ((32, 32, 3), 100, "cifar_crop_flip"),
}


def raw(name):
    """What the mock holds."""
    samples = tfds.load(name, split="train", as_supervised=True)
    return tuple(map(np.stack, zip(*samples.as_numpy_iterator(), strict=True)))


def standardised(x, statistics_of):
    axes = tuple(range(x.ndim - 1))
    x, of = x.astype("float64"), statistics_of.astype("float64")
    return (x - of.mean(axes)) / of.std(axes)


def in_order(x):
    """Samples sorted by their values: the same set, whatever the order."""
    return np.array(sorted(x.reshape(len(x), -1).tolist()))


@pytest.mark.usefixtures("mock")
@pytest.mark.parametrize("name", IN_MEMORY)
def test_an_epoch_has_every_sample_once_standardised(name):
    pipeline = pipelines.load(name)
    shape, classes, _ = IN_MEMORY[name]
    assert (pipeline.name, pipeline.split, pipeline.shape) == (name, "test", shape)
    assert (pipeline.classes, pipeline.examples, pipeline.scored) == (classes, SAMPLES, SAMPLES)
    assert pipeline.scored_on == "23 test samples"
    fitted = pipeline.training(batch=10, seed=3)
    assert len(fitted["x"]) == 3  # Keras shows it
    epoch = batches(fitted)
    assert [len(x) for x, _ in epoch] == [len(y) for _, y in epoch] == [10, 10, 3]
    assert {(x.dtype.name, y.dtype.name) for x, y in epoch} == {("float32", "int32")}

    x, y = raw(name)
    expected = standardised(x, x)
    scored_x, scored_y = whole(pipeline.scoring("train"))
    np.testing.assert_allclose(scored_x, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scored_y, y)
    trained_x, trained_y = whole(fitted)
    np.testing.assert_allclose(in_order(trained_x), in_order(scored_x), rtol=1e-6, atol=1e-6)
    # Labels go with their samples.
    nearest = [np.abs(scored_x - sample).sum((1, 2, 3)).argmin() for sample in trained_x]
    assert sorted(nearest) == list(range(SAMPLES))
    assert nearest != sorted(nearest)
    np.testing.assert_array_equal(trained_y, y[nearest])


@pytest.mark.usefixtures("mock")
@pytest.mark.parametrize("name", ["cifar10", "imagenet2012"])
def test_a_seed_decides_order_and_augmentation(name):
    augmentation = "imagenet" if name == "imagenet2012" else "cifar_crop_flip"
    pipeline = pipelines.load(name, augmentation, image_size=16 if "image" in name else None)

    def two_epochs(seed):
        fitted = pipeline.training(batch=8, seed=seed)
        return [whole(fitted) for _ in range(2)]

    tf.random.set_seed(1)
    first = two_epochs(5)
    tf.random.set_seed(2)  # not what decides
    again, other = two_epochs(5), two_epochs(6)
    for (x, y), (same_x, same_y) in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, same_x)
        np.testing.assert_array_equal(y, same_y)
    labels = [tuple(y) for _, y in (*first, *other)]
    assert len(set(labels)) == 4  # new in every epoch, and for every seed
    assert len({tuple(sorted(y)) for y in labels}) == 1


@pytest.mark.usefixtures("mock")
@pytest.mark.parametrize("name", ["mnist", "cifar100", "imagenet2012"])
@pytest.mark.parametrize("num_shards", [2, 3])
def test_processes_share_the_batches_of_one(name, num_shards):
    augmentation = "imagenet" if name == "imagenet2012" else IN_MEMORY[name][2]
    pipeline = pipelines.load(name, augmentation, image_size=12 if "image" in name else None)
    one = pipeline.training(batch=6, seed=1)
    parts = [pipeline.training(6, 1, num_shards, index) for index in range(num_shards)]
    for _ in range(2):  # epochs: the order is new, and the processes still agree on it
        alone, *others = (batches(fitted) for fitted in (one, *parts))
        # Parts of one size; 23 samples, so that 1 or 2 are left out.
        kept = SAMPLES - SAMPLES % num_shards
        assert [[len(x) for x, _ in part] for part in others] == [
            [6 // num_shards] * 3 + [(kept - 18) // num_shards]
        ] * num_shards
        for k, (x, y) in enumerate(alone):
            shared_x, shared_y = (
                np.stack([part[k][i] for part in others], 1).reshape(-1, *array.shape[1:])
                for i, array in enumerate((x, y))
            )
            assert len(shared_y) == (6 if k < 3 else kept - 18)
            np.testing.assert_array_equal(shared_x, x[: len(shared_x)])
            np.testing.assert_array_equal(shared_y, y[: len(shared_y)])


@pytest.mark.usefixtures("mock")
def test_parts_that_cannot_be_are_refused():
    pipeline = pipelines.load("mnist")
    for num_shards, index in ((2, 2), (2, -1), (0, 0)):
        with pytest.raises(ValueError, match=f"no part {index} of {num_shards}"):
            pipeline.training(4, 0, num_shards, index)
    with pytest.raises(ValueError, match="batch=5 cannot be shared by 2 processes"):
        pipeline.training(5, 0, 2, 0)
    with pytest.raises(ValueError, match="part='held-out' is unknown"):
        pipeline.scoring("held-out")


@pytest.mark.usefixtures("mock")
@pytest.mark.parametrize("name", IN_MEMORY)
def test_samples_are_augmented_to_train_on_and_not_to_score(name):
    pipeline = pipelines.load(name, IN_MEMORY[name][2])
    x, _ = raw(name)
    for part in ("train", "test"):  # the mock's are the same
        scored, _ = whole(pipeline.scoring(part))
        np.testing.assert_allclose(scored, standardised(x, x), rtol=1e-5, atol=1e-5)
    trained, _ = whole(pipeline.training(batch=SAMPLES, seed=0))
    intact = {sample.tobytes() for sample in scored}
    assert sum(sample.tobytes() in intact for sample in trained) < SAMPLES // 2
    # One sample alone, so that epochs differ by how it is cropped, and not by the order.
    pipeline._train = pipeline._train.take(1).repeat(SAMPLES)
    fitted = pipeline.training(batch=SAMPLES, seed=0)
    first, second = ({crop.tobytes() for crop in whole(fitted)[0]} for _ in range(2))
    assert len(first) > SAMPLES // 2
    assert first != second


@pytest.mark.usefixtures("mock")
def test_imagenet_is_cropped_to_the_network_s_size():
    pipeline = pipelines.load("imagenet2012", "imagenet", image_size=20)
    assert (pipeline.shape, pipeline.classes, pipeline.split) == ((20, 20, 3), 1000, "validation")
    epoch = batches(pipeline.training(batch=20, seed=0))
    assert [x.shape for x, _ in epoch] == [(20, 20, 20, 3), (3, 20, 20, 3)]
    assert epoch[0][0].dtype == np.float32
    assert epoch[0][1].dtype == np.int32
    # Black and white are where ImageNet's published statistics put them.
    x = whole(pipeline.scoring("test"))[0]
    for channel, (mean, deviation) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        assert x[..., channel].min() >= -mean / deviation - 1e-5
        assert x[..., channel].max() <= (1 - mean) / deviation + 1e-5
        assert x[..., channel].std() > 0.3
    plain = pipelines.load("imagenet2012", image_size=20).training(batch=SAMPLES, seed=0)
    np.testing.assert_allclose(in_order(whole(plain)[0]), in_order(x), rtol=1e-6, atol=1e-6)
    assert pipelines.load("imagenet2012").shape == (224, 224, 3)


# --- MNIST-1D, through files


def test_mnist1d_is_the_demo_s_own_sample_for_sample(folder, short_mnist1d):
    pipeline = pipelines.load("mnist1d", data_dir=folder)
    (x, y), (x_test, y_test) = short_mnist1d
    assert (pipeline.shape, pipeline.classes) == ((40, 1), 10)
    assert (pipeline.examples, pipeline.scored) == (4000, 1000)
    for part, signals, labels in (("train", x, y), ("test", x_test, y_test)):
        scored_x, scored_y = whole(pipeline.scoring(part))
        np.testing.assert_allclose(scored_x, standardised(signals, x), rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(scored_y, labels)


def test_held_out_samples_are_not_trained_on(folder):
    full = pipelines.load("mnist1d", data_dir=folder)
    original = full.mean + full.deviation * whole(full.scoring("train"))[0]
    pipeline = pipelines.load("mnist1d", hold_out=300, examples=1000, data_dir=folder)
    assert (pipeline.examples, pipeline.scored, pipeline.split) == (700, 300, "held-out")
    assert pipeline.scored_on == "300 held-out samples"
    trained, held = (
        pipeline.mean + pipeline.deviation * whole(fitted)[0]
        for fitted in (pipeline.training(64, seed=0), pipeline.scoring("test"))
    )
    together = np.concatenate([trained, held])
    np.testing.assert_allclose(in_order(together), in_order(original[:1000]), atol=1e-5)
    # Standardised with the samples trained on, and those alone; the same ones for another seed.
    assert pipeline.mean == pytest.approx(trained.mean(), abs=1e-6)
    assert pipeline.deviation == pytest.approx(trained.std(), rel=1e-5)
    other = pipeline.mean + pipeline.deviation * whole(pipeline.training(64, seed=1))[0]
    np.testing.assert_allclose(in_order(other), in_order(trained), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hold_out": 4000}, "cannot hold out 4000 of 4000"),
        ({"hold_out": 10, "examples": 10}, "cannot hold out 10 of 10"),
        ({"hold_out": -1}, "cannot hold out -1"),
        ({"examples": 0}, "examples=0 leaves nothing"),
        ({"image_size": 32}, "image_size=32 is not for mnist1d"),
        ({"augmentation": "imagenet"}, "'imagenet' is not for mnist1d"),
    ],
)
def test_settings_that_cannot_be_are_refused(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        pipelines.load("mnist1d", data_dir=folder, **arguments)


def test_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match=r"'timit' is unknown: pass one of \['mnist', "):
        pipelines.load("timit")


@pytest.mark.parametrize("package", ["tensorflow_datasets", "importlib_resources", "tensorflow"])
def test_absent_packages_are_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemExit, match=f"pip install .*{package.replace('_', '-')}"):
        pipelines.load("mnist")
