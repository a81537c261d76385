"""The data that are arrays: read, drawn, asked for, standardised and held out."""

import gzip
import sys
import types

import keras
import numpy as np
import pytest

from reproduction.data import arrays

if keras.backend.backend() != "torch":
    pytest.skip("NumPy's arrays, whatever trains", allow_module_level=True)


def idx(array, code=8):
    """The bytes of an idx file."""
    head = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(arrays.IDX_TYPES[code]).tobytes()


@pytest.mark.parametrize("code", sorted(arrays.IDX_TYPES))
def test_idx_files_are_read_back(tmp_path, code):
    array = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array, code))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array, code)))
    for name in ("plain", "packed.gz"):
        read = arrays.read_idx(tmp_path / name)
        np.testing.assert_array_equal(read, array)
        assert read.dtype.isnative


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x01\0\x08\x01\0\0\0\0", "not an idx file"),
        (b"\0\0\x07\x01\0\0\0\0", "not an idx file"),
        (b"", "not an idx file"),
        (idx(np.arange(5))[:-1], "cut short"),
        (idx(np.arange(5)) + b"\0", "too long"),
        (idx(np.arange(5))[:6], "cut short"),
    ],
)
def test_broken_idx_files_are_refused(tmp_path, content, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        arrays.read_idx(path)


def test_folder_of_idx_files(tmp_path):
    draw = np.random.default_rng(1)
    images = {"train": draw.integers(0, 256, (30, 6, 5)), "t10k": draw.integers(0, 256, (9, 6, 5))}
    for prefix, x in images.items():
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(len(x)) % 3))
    data = arrays.load("ignored", data_dir=tmp_path, examples=20)
    assert data.name == tmp_path.name
    assert (data.shape, data.classes) == ((6, 5, 1), 3)
    assert (len(data.x_train), len(data.x_test)) == (20, 9)
    np.testing.assert_array_equal(data.y_test, np.arange(9) % 3)

    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(SystemExit, match="neither t10k-labels-idx1-ubyte nor"):
        arrays.load("ignored", data_dir=tmp_path)


def test_tensorflow_datasets_are_asked_for_arrays(monkeypatch):
    asked = {}

    def load(name, **arguments):
        asked.update(arguments, name=name)
        x, y = np.arange(4 * 32 * 32 * 3, dtype="uint8").reshape(4, 32, 32, 3), np.arange(4)
        return [[(x[:3], y[:3]), (x[3:], y[3:])], [(x[:2], y[:2])]]  # in batches

    module = types.SimpleNamespace(load=load, as_numpy=iter)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    data = arrays.load("cifar10")
    assert asked == {
        "name": "cifar10",
        "split": ["train", "test"],
        "batch_size": 1000,
        "as_supervised": True,
    }
    assert (data.shape, len(data.x_train), len(data.x_test)) == ((32, 32, 3), 4, 2)


def test_absent_tensorflow_datasets_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SystemExit, match="pip install tensorflow-datasets"):
        arrays.load("cifar10")


def test_mnist1d_is_the_package_s_own_less_its_standardisation():
    from mnist1d.data import get_dataset_args, make_dataset

    arguments = get_dataset_args()
    arguments.num_samples, arguments.seed = 200, 7
    theirs = make_dataset(arguments)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    x, y = arrays._draw_mnist1d(200, 7)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(y, np.concatenate([theirs["y"], theirs["y_test"]]))
    standardised = (x[..., 0] - x.mean()) / x.std()
    np.testing.assert_allclose(standardised, np.concatenate([theirs["x"], theirs["x_test"]]))
    np.testing.assert_array_equal(x, arrays._draw_mnist1d(200, 7)[0])


def test_mnist1d_as_the_demo_uses_it(monkeypatch, drawn):
    monkeypatch.setattr(arrays, "mnist1d", lambda: drawn)
    data = arrays.load("mnist1d")
    assert (data.x_train.shape, data.x_test.shape) == ((4000, 40, 1), (10_000, 40, 1))
    assert data.scored_on == "10,000 test samples"
    # By the training samples' statistics, which the test samples share but for chance.
    np.testing.assert_allclose([data.x_train.mean(), data.x_train.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose([data.x_test.mean(), data.x_test.std()], [0, 1], atol=0.02)
    assert abs(data.x_test.std() - 1) > 1e-5
    assert not set(map(bytes, data.x_train)) & set(map(bytes, data.x_test))


def test_hold_out_takes_from_the_training_samples_and_hides_the_test_set(monkeypatch):
    x = np.arange(100.0)[:, None]
    monkeypatch.setattr(arrays, "digits", lambda: ((x, np.arange(100)), (x + 500, np.arange(100))))
    whole, data = arrays.load("digits", examples=80), arrays.load("digits", None, 30, 80)
    assert (len(data.y_train), len(data.y_test)) == (50, 30)
    assert not set(data.y_train) & set(data.y_test)
    assert set(data.y_train) | set(data.y_test) == set(whole.y_train)
    assert data.scored_on == "30 held-out samples"
    # Standardised with what is trained on, and that alone.
    np.testing.assert_allclose([data.x_train.mean(), data.x_train.std()], [0, 1], atol=1e-6)
    assert data.x_test.max() < 3  # 500 higher, and it would be 17
    for count in (80, 200):
        with pytest.raises(ValueError, match="cannot hold out"):
            arrays.load("digits", None, count, 80)


def test_another_draw_has_other_test_samples(monkeypatch):
    monkeypatch.setattr(arrays, "MNIST1D_TEST_SAMPLES", 20)
    drawn = []

    def draw(samples, seed):
        drawn.append(seed)
        return np.random.default_rng(seed).normal(size=(samples, 4, 1)), np.arange(samples) % 10

    monkeypatch.setattr(arrays, "_draw_mnist1d", draw)
    usual, fresh = arrays.load("mnist1d"), arrays.load("mnist1d", draw=7)
    np.testing.assert_array_equal(usual.x_train, fresh.x_train)
    assert not np.array_equal(usual.x_test, fresh.x_test)
    assert drawn == [42, 4321, 42, 7]


def test_another_split_of_the_digits(digits):
    fresh = arrays.load("digits", draw=1)
    assert fresh.x_test.shape == digits[0].x_test.shape
    assert not np.array_equal(fresh.y_test, digits[0].y_test)
    np.testing.assert_array_equal(arrays.load("digits", draw=0).y_test, digits[0].y_test)


def test_files_have_no_other_draw(tmp_path):
    with pytest.raises(ValueError, match="leave `draw` out"):
        arrays.load("ignored", data_dir=tmp_path, draw=1)
