"""The examples' data: generated, or from scikit-learn, TensorFlow Datasets or idx files."""

import gzip
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The code of an idx file's third byte, as the MNIST page defines it; numbers are big-endian.
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
MNIST1D_TEST_SAMPLES, MNIST1D_MOST_SAMPLES = 10_000, 16_000
MNIST1D_SEEDS = {"train": 42, "test": 4321}  # 42 is the package's own: the official training set
DIGITS_TEST_SAMPLES, DIGITS_SEED = 597, 0  # leaves 1200 to train on
SCORING_BATCH = 200


@dataclass(frozen=True)
class Data:
    """A classification data set, standardised with the statistics of the samples trained on.

    `classes` counts those of the whole data set. `split` says what `x_test` is: `"test"`, or
    `"held-out"` training samples.
    """

    name: str
    classes: int
    split: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    @property
    def shape(self):
        """The shape of one sample, channels last."""
        return self.x_train.shape[1:]

    @property
    def examples(self):
        """Samples to train on."""
        return len(self.x_train)

    @property
    def scored(self):
        """Samples that the accuracies are measured on."""
        return len(self.x_test)

    @property
    def scored_on(self):
        """What the accuracies are measured on."""
        return f"{self.scored:,} {self.split} samples"

    def training(self, batch, seed):  # noqa: ARG002 - arrays are shuffled by Keras's own seed
        """What `fit` takes."""
        return {"x": self.x_train, "y": self.y_train, "batch_size": batch}

    def scoring(self, part):
        """What `evaluate` takes for the `"train"` or the `"test"` part."""
        x, y = (self.x_train, self.y_train) if part == "train" else (self.x_test, self.y_test)
        return {"x": x, "y": y, "batch_size": SCORING_BATCH}


def load(name, data_dir=None, hold_out=0, examples=None, draw=None):
    """Load a data set.

    Args:
        name: `"mnist1d"`, `"digits"`, or the name of an image data set in TensorFlow Datasets.
        data_dir: folder with four idx files (plain or gz), used in place of `name`.
        hold_out: training samples to set aside and score on *in place of* the test set. Settings
            are chosen so; the test set is then not even returned.
        examples: training samples to use, before the hold-out; all of them by default.
        draw: seed of a test set that nobody has looked at, in place of the usual one: of
            MNIST-1D's generator, or of the split of the digits.
    """
    drawn = {} if draw is None else {"seed": draw}
    if drawn and (data_dir is not None or name not in ("mnist1d", "digits")):
        raise ValueError(f"there is one test set of {data_dir or name}: leave `draw` out")
    if data_dir is not None:
        name, splits = Path(data_dir).name, idx_folder(data_dir)
    elif name == "mnist1d":
        splits = mnist1d(**drawn)
    elif name == "digits":
        splits = digits(**drawn)
    else:
        splits = tensorflow_dataset(name)
    (x, y), (x_test, y_test) = splits
    # One fixed order, whatever the seeds of the trainings are: every training sees the same split.
    order = np.random.default_rng(0).permutation(len(x))[:examples]
    split, classes = "test", int(max(y.max(), y_test.max())) + 1
    if hold_out:
        if not 0 < hold_out < len(order):
            raise ValueError(
                f"cannot hold out {hold_out} of {len(order)} training samples: "
                "pass a number between 1 and one less than there are"
            )
        held, order = order[:hold_out], order[hold_out:]
        split, x_test, y_test = "held-out", x[held], y[held]
    return _standardised(name, classes, split, x[order], y[order], x_test, y_test)


def _standardised(name, classes, split, x, y, x_test, y_test):
    x, x_test = x.astype("float64"), x_test.astype("float64")
    axes = tuple(range(x.ndim - 1))  # one mean and one deviation a channel
    mean, deviation = x.mean(axes), x.std(axes)
    x, x_test = ((part - mean) / deviation for part in (x, x_test))
    return Data(
        name,
        classes,
        split,
        x.astype("float32"),
        y.astype("int32"),
        x_test.astype("float32"),
        y_test.astype("int32"),
    )


def mnist1d(seed=MNIST1D_SEEDS["test"]):
    """MNIST-1D (Greydanus, 2020): 4000 official training samples and 10 000 fresh test samples.

    The official 1000 test samples leave a standard error of 0.6 to 0.9 points, too much to see the
    differences between the arms; the same generator with another seed gives as many as we want.
    """
    x, y = _draw_mnist1d(5000, MNIST1D_SEEDS["train"])
    return (x[:4000], y[:4000]), _draw_mnist1d(MNIST1D_TEST_SAMPLES, seed)


def drawn_mnist1d(examples, training_draw, test_draw=None):
    """MNIST-1D with a training set of its own: smaller sets are parts of larger ones.

    Args:
        examples: Training samples, at most 16 000.
        training_draw: The generator's seed for them.
        test_draw: That of the test samples; the usual one by default.
    """
    x, y = _draw_mnist1d(MNIST1D_MOST_SAMPLES, training_draw)
    x_test, y_test = _draw_mnist1d(MNIST1D_TEST_SAMPLES, test_draw or MNIST1D_SEEDS["test"])
    given = x[:examples], y[:examples], x_test, y_test
    return _standardised("mnist1d", 10, "test", *given)


def _draw_mnist1d(samples, seed):
    """What `mnist1d.data.make_dataset` does, less its standardisation.

    That one uses the mean and deviation of whatever is drawn, so two draws could not share them.
    (`mnist1d.data.get_dataset` downloads; the generator does not.)
    """
    from mnist1d.data import get_dataset_args, get_templates
    from mnist1d.transform import transform

    arguments, templates = get_dataset_args(), get_templates()
    labels = np.repeat(templates["y"], samples // len(templates["y"]))
    state = np.random.get_state()  # noqa: NPY002 - the generator draws from NumPy's global state
    try:
        np.random.seed(seed)  # noqa: NPY002
        x = [transform(templates["x"][y], templates["t"], arguments)[0] for y in labels]
        order = np.random.permutation(len(labels))  # noqa: NPY002
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.stack(x)[order][..., None], labels[order]


def digits(seed=DIGITS_SEED):
    """scikit-learn's 8x8 digits: 1200 training and 597 test samples, a fixed random split.

    Args:
        seed: Of the split.
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    test, train = order[:DIGITS_TEST_SAMPLES], order[DIGITS_TEST_SAMPLES:]
    x = x.reshape(-1, 8, 8, 1)
    return (x[train], y[train]), (x[test], y[test])


def tensorflow_dataset(name):
    """An image data set by its TensorFlow Datasets name; downloaded by it on first use."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise SystemExit(
            f"the data set {name!r} comes through TensorFlow Datasets, which is not installed: "
            "pip install tensorflow-datasets, or pass --data-dir with idx files"
        ) from error
    splits = tfds.load(name, split=["train", "test"], batch_size=1000, as_supervised=True)
    return tuple(
        tuple(map(np.concatenate, zip(*tfds.as_numpy(batches), strict=True))) for batches in splits
    )


def idx_folder(folder):
    """MNIST's four files, under MNIST's names, from a folder; each plain or gz."""
    return tuple(
        (
            _images(folder, f"{prefix}-images-idx3-ubyte"),
            _idx(folder, f"{prefix}-labels-idx1-ubyte"),
        )
        for prefix in ("train", "t10k")
    )


def _images(folder, name):
    x = _idx(folder, name)
    return x[..., None] if x.ndim == 3 else x


def _idx(folder, name):
    for path in (Path(folder) / name, Path(folder) / f"{name}.gz"):
        if path.exists():
            return read_idx(path)
    raise SystemExit(f"{folder} has neither {name} nor {name}.gz")


def read_idx(path):
    """Read one idx file, the format of MNIST and Fashion-MNIST; gz if the name says so."""
    path = Path(path)
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in IDX_TYPES:
        raise ValueError(f"{path} is not an idx file: it starts with {content[:4].hex()}")
    dtype, start = np.dtype(IDX_TYPES[content[2]]), 4 + 4 * content[3]
    shape = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4))
    if len(content) != start + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} is cut short or too long for its shape {shape}")
    values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="))
