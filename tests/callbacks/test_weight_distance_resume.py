"""What WeightDistance keeps on disk: exact resume, whole files, clear refusals."""

import warnings

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance
from keras_bigbatch.callbacks import _distance_file as _distance_store
from tests.callbacks.fits import SlowReference, StopAt, assert_like_reference, dense_model, fit


def test_every_fit_starts_afresh_without_path():
    model, callback = dense_model(), WeightDistance()
    fit(model, callback)
    first = callback.history
    reference = SlowReference()
    fit(model, callback, reference)
    assert first["update"][-1] == 30
    assert callback.history["update"] == [32, 40, 50, 60]
    assert_like_reference(callback, reference)


def test_fits_go_on_with_path(tmp_path):
    reference = SlowReference()
    model, path = dense_model(), tmp_path / "new" / "folder" / "distance.npz"
    fit(model, WeightDistance(path=path), reference)
    callback = WeightDistance(path=path)
    fit(model, callback, reference)
    assert callback.history["update"][-5:] == [30, 32, 40, 50, 60]
    assert_like_reference(callback, reference)


def test_new_training_overwrites_the_file(tmp_path):
    path = tmp_path / "d.npz"
    callback = WeightDistance(path=path)
    for _ in range(2):
        reference = SlowReference()
        fit(dense_model(), callback, reference, epochs=1)
        assert_like_reference(callback, reference)
        assert callback.history["update"] == list(range(1, 11))
        with np.load(path) as file:
            assert file["distance"].tolist() == callback.history["distance"]


# In the middle of an epoch, and at an epoch's end before the last callback of the list has run.
@pytest.mark.parametrize(
    ("backup_first", "stop"), [(False, (1, 7)), (True, (1, 7)), (True, (2, 0))]
)
def test_interrupted_run_is_the_uninterrupted_one(tmp_path, backup_first, stop):
    def run(seed, path, *more):
        keras.utils.set_random_seed(seed)
        callback = WeightDistance(per_layer=True, path=path)
        callbacks = [callback, *more]
        fit(dense_model(), *(reversed(callbacks) if backup_first else callbacks))
        return callback.history

    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    whole = run(5, tmp_path / "whole.npz")
    with pytest.raises(KeyboardInterrupt):
        run(5, tmp_path / "parts.npz", backup(), StopAt(*stop))
    resumed = run(99, tmp_path / "parts.npz", backup())
    assert resumed["distance"] == whole["distance"]
    assert resumed["update"] == whole["update"]
    # Keras has given the layers of the second model new numbers, but they are in the same order.
    assert list(resumed["layers"].values()) == list(whole["layers"].values())


def test_stopped_between_the_backup_and_the_file(tmp_path):
    def callbacks(*between):
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        return backup, *between, WeightDistance("epoch", path=tmp_path / "d.npz")

    keras.utils.set_random_seed(5)
    whole = WeightDistance("epoch")
    fit(dense_model(), whole)
    keras.utils.set_random_seed(5)
    with pytest.raises(KeyboardInterrupt):
        fit(dense_model(), *callbacks(StopAt(1)))
    resumed = callbacks()
    fit(dense_model(), *resumed)
    assert resumed[-1].history == whole.history


def saved(path, model):
    variables = model.trainable_variables
    history = {"update": [1, 2, 3], "distance": [0.1, 0.2, 0.3]}
    _distance_store.save(str(path), variables, [v.value for v in variables], history)


def test_file_of_another_model_is_refused(tmp_path):
    path = tmp_path / "d.npz"
    saved(path, dense_model())

    def load(model, layers=None):
        return _distance_store.load(str(path), model.trainable_variables, layers, 2)

    again = dense_model()  # `sequential_1`, but the same model.
    weights, history = load(again)
    assert [w.shape for w in weights] == [(6, 16), (16,), (16, 3), (3,)]
    assert history == {"update": [1, 2], "distance": [0.1, 0.2]}
    again.layers[0].trainable = False
    with pytest.raises(ValueError, match="has 4 trainable variables, the model has 2"):
        load(again)
    with pytest.raises(ValueError, match=r"hidden/kernel' with shape \(6, 16\).*\(6, 8\)"):
        load(dense_model(width=8))
    other = dense_model()
    other.layers[0].kernel._path = "first/kernel"
    with pytest.raises(ValueError, match=r"hidden/kernel' where the model has '.*first/kernel'"):
        load(other)
    with pytest.raises(ValueError, match="Pass per_layer=False again"):
        load(dense_model(), layers=["hidden", "output"])


@pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04 cut off"])
def test_file_of_another_program_is_refused(tmp_path, content):
    path = tmp_path / "d.npz"
    path.write_bytes(content)
    model = dense_model()
    model.optimizer.iterations.assign(5)
    with pytest.raises(ValueError, match=r"not a file that WeightDistance wrote\. Pass another"):
        fit(model, WeightDistance(path=path))
    with open(path, "wb") as file:
        np.savez(file, update=np.arange(3))
    with pytest.raises(ValueError, match="not a file that WeightDistance wrote"):
        fit(model, WeightDistance(path=path))


def test_missing_file_of_a_trained_model_is_said(tmp_path):
    model = dense_model()
    model.optimizer.iterations.assign(5)
    callback = WeightDistance(path=tmp_path / "d.npz")
    # Not `pytest.warns`, which would raise torch's own deprecation warnings again.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        fit(model, callback, epochs=1)
    messages = [str(warning.message) for warning in caught]
    assert any("The optimizer has made 5 updates, but" in message for message in messages)
    assert callback.history["update"] == [6, 7, 8, 9, 10, 13, 15]


def test_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    fit(dense_model(), WeightDistance(path=path), epochs=1)
    before = path.read_bytes()

    def full_disk(file, **content):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(_distance_store.np, "savez", full_disk)
    with pytest.raises(OSError, match="no space left"):
        fit(dense_model(), WeightDistance(path=path), epochs=1)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["d.npz"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_variables_of_other_precisions(tmp_path, dtype):
    if dtype == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 without its x64 switch")
    keras.config.set_dtype_policy(dtype)
    path, reference = tmp_path / "d.npz", SlowReference()
    model = dense_model(keras.optimizers.SGD(0.02))
    fit(model, WeightDistance(path=path), reference, epochs=1)
    callback = WeightDistance(path=path)
    fit(model, callback, reference, epochs=1)
    assert callback.history["update"][0] == 1
    assert_like_reference(callback, reference)
