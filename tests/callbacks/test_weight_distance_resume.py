"""What WeightDistance keeps on disk: a resumed history is the one of an uninterrupted training."""

import warnings

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance
from keras_bigbatch.callbacks import ReduceLROnWeightDistance
from tests.callbacks.fits import SlowReference, StopAt, assert_like_reference, dense_model, fit
from tests.callbacks.kills import EPOCHS, START, STEPS, Killed, Moments, Walk

# Weights are set most slowly there, and the files are the same.
EACH = 3 if keras.backend.backend() == "tensorflow" else 1

either_order = pytest.mark.parametrize("backup_first", [False, True])


def killed_and_resumed(make, backup_first, path, monkeypatch, every=None, start=START):
    """Yields (walk, callback) of an uninterrupted training, then of one killed at each moment."""
    walk = Walk(monkeypatch, backup_first, every)
    moments = Moments(monkeypatch)
    whole = make(path("whole"))
    walk.run(whole, start, moments)
    yield walk, whole
    for last in range(0, moments.passed, EACH):
        moments.passed, moments.last = 0, last
        with pytest.raises(Killed):
            walk.run(make(path(last)), start, moments)
        moments.last = None
        resumed = make(path(last))
        walk.run(resumed, walk.backup)
        yield walk, resumed


@either_order
@pytest.mark.parametrize("frequency", [1, "epoch"])
def test_no_kill_makes_a_hole(tmp_path, monkeypatch, backup_first, frequency):
    def make(path):
        return WeightDistance(frequency, per_layer=True, path=path)

    lives = killed_and_resumed(
        make, backup_first, lambda life: tmp_path / f"{life}.npz", monkeypatch
    )
    walk, whole = next(lives)
    step = 1 if frequency == 1 else STEPS
    expected = list(range(step, EPOCHS * STEPS + 1, step))
    assert whole.history["update"] == expected
    np.testing.assert_allclose(whole.history["distance"], list(map(walk.distance, expected)), 1e-5)
    for _, resumed in lives:
        assert resumed.history == whole.history


@either_order
def test_no_kill_loses_a_drop_of_the_rate(tmp_path, monkeypatch, backup_first):
    distances = [0.1 * updates * np.sqrt(17) for updates in (2.5, 6.5, 7.5)]

    def make(path):
        return ReduceLROnWeightDistance(distances, 0.5, path=path)

    lives = killed_and_resumed(
        make, backup_first, lambda life: tmp_path / f"{life}.npz", monkeypatch
    )
    walk, whole = next(lives)
    assert float(walk.model.optimizer.learning_rate) == START.rate / 8
    for walk, resumed in lives:
        assert resumed.history == whole.history
        assert float(walk.model.optimizer.learning_rate) == START.rate / 8


def test_backups_within_epochs(tmp_path, monkeypatch):
    """Keras then begins the epoch again with the backup's weights, and makes more updates."""

    def make(path):
        return WeightDistance(1, path=path)

    lives = killed_and_resumed(
        make, True, lambda life: tmp_path / f"{life}.npz", monkeypatch, every=2
    )
    for walk, resumed in lives:
        updates = resumed.history["update"]
        assert updates == list(range(1, updates[-1] + 1))
        assert EPOCHS * STEPS <= updates[-1] <= (EPOCHS + 1) * STEPS
        np.testing.assert_allclose(
            resumed.history["distance"], [walk.distance(update) for update in updates], 1e-5
        )


@pytest.mark.filterwarnings("ignore:The optimizer has made 5 updates")
def test_no_kill_makes_a_hole_from_a_trained_model_on(tmp_path, monkeypatch):
    def make(path):
        return WeightDistance(1, path=path)

    lives = killed_and_resumed(
        make,
        True,
        lambda life: tmp_path / f"{life}.npz",
        monkeypatch,
        start=START._replace(updates=5),
    )
    for _, resumed in lives:
        assert resumed.origin == 5
        assert resumed.history["update"] == list(range(6, 6 + EPOCHS * STEPS))


def test_every_fit_starts_afresh_without_path():
    model, callback = dense_model(), WeightDistance()
    fit(model, callback)
    first = callback.history
    assert callback.origin == 0
    reference = SlowReference()
    fit(model, callback, reference)
    assert first["update"][-1] == 30
    assert callback.origin == 30
    # About 10 a decade of updates from this fit's w_0, and the epochs' ends.
    assert callback.history["update"] == [*range(31, 41), 43, 46, 50, 55, 60]
    assert_like_reference(callback, reference)


def test_fits_go_on_with_path(tmp_path):
    reference = SlowReference()
    model, path = dense_model(), tmp_path / "new" / "folder" / "distance.npz"
    fit(model, WeightDistance(path=path), reference)
    callback = WeightDistance(path=path)
    fit(model, callback, reference)
    assert callback.origin == 0
    assert callback.history["update"][-5:] == [30, 32, 40, 50, 60]
    assert_like_reference(callback, reference)


def test_new_training_overwrites_the_files(tmp_path):
    path = tmp_path / "d.npz"
    callback = WeightDistance(path=path)
    for _ in range(2):
        reference = SlowReference()
        fit(dense_model(), callback, reference, epochs=1)
        assert_like_reference(callback, reference)
        assert callback.history["update"] == list(range(1, 11))
        with np.load(path) as file:
            assert file["distance"].tolist() == callback.history["distance"]


# In the middle of an epoch, between the two callbacks, and before the first batch of an epoch.
@either_order
@pytest.mark.parametrize("stop", [(1, 7), (1, None), (2, 0)])
def test_keras_backups(tmp_path, backup_first, stop):
    def run(seed, path, *more):
        keras.utils.set_random_seed(seed)
        callback = WeightDistance(per_layer=True, path=path)
        callbacks = [callback, *reversed(more)]
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


def test_missing_file_of_a_trained_model_is_said(tmp_path):
    model = dense_model()
    model.optimizer.iterations.assign(5)
    callback = WeightDistance(path=tmp_path / "d.npz")
    # Not `pytest.warns`, which would raise torch's own deprecation warnings again.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        model.fit(np.ones((40, 6)), np.ones((40, 3)), batch_size=4, verbose=0, callbacks=[callback])
    (said,) = (w for w in caught if "The optimizer has made 5 updates, but" in str(w.message))
    assert said.filename == __file__
    assert callback.origin == 5
    assert callback.history["update"] == list(range(6, 16))
    again = WeightDistance(path=tmp_path / "d.npz")
    fit(model, again, epochs=1)
    assert again.origin == 5
    assert again.history["update"] == [*range(6, 16), 18, 21, 25]


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
