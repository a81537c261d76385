"""Data that is drawn once, and in no time; and trainings that nobody waits for."""

import types

import pytest

from reproduction import training
from reproduction.data import arrays, augmentation, pipelines


@pytest.fixture(scope="session")
def digits():
    """The digits, all of them and with 400 samples held out."""
    return {hold_out: arrays.load("digits", None, hold_out, 1200) for hold_out in (0, 400)}


@pytest.fixture(scope="session")
def drawn():
    """MNIST-1D, which takes seconds to draw."""
    return arrays.mnist1d()


@pytest.fixture
def few_data(monkeypatch, digits):
    """Stands for MNIST-1D."""
    monkeypatch.setattr(
        arrays,
        "load",
        lambda name, hold_out=0, examples=None, draw=None: digits[400 if hold_out else 0],
    )
    return digits[0]


@pytest.fixture(scope="module")
def mnist1d_builder():
    """MNIST-1D has a builder here, so that files can be read without a network."""
    pytest.importorskip("tensorflow_datasets")
    from tests.reproduction import mnist1d_dataset  # noqa: F401 - registers it

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "DATA_SETS", names := (*pipelines.DATA_SETS, "mnist1d"))
        patch.setitem(augmentation.AUGMENTATIONS, "none", names)
        yield


@pytest.fixture
def mock():
    """23 random samples a split in place of what would be downloaded; slices are ignored."""
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=23):
        yield


@pytest.fixture(scope="module")
def short_mnist1d():
    """MNIST-1D as the demo draws it, with a tenth of the test samples: it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "MNIST1D_TEST_SAMPLES", 1000)
        return arrays.mnist1d()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, short_mnist1d, mnist1d_builder):
    """The same through the builder, written once."""
    folder = tmp_path_factory.mktemp("tfds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "mnist1d", lambda: short_mnist1d)
        pipelines.load("mnist1d", data_dir=folder)
    return folder


@pytest.fixture
def stand_in(monkeypatch):
    """In place of the trainings, which it lists; it stops at the number in `stop`."""
    made = types.SimpleNamespace(trainings=[], stop=None)

    def train(data, arm, seed, *_):
        if len(made.trainings) == made.stop:
            raise KeyboardInterrupt
        made.trainings.append((arm.plan.batch, seed))
        accuracy = 0.9 + arm.plan.batch / 1e5 + seed / 1e3
        return {
            "updates": arm.plan.updates,
            "samples": arm.plan.samples,
            "seconds": 1.0,
            "train_loss": 0.1,
            "train_accuracy": 1.0,
            "test_loss": 0.2,
            "test_accuracy": accuracy,
            "weight_distance": {"update": [1, arm.plan.updates], "distance": [1.0, 2.0]},
        }

    monkeypatch.setattr(training, "train", train)
    return made
