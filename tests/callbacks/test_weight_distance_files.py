"""The files of WeightDistance: w_0 once, both together, refused where they are not its own."""

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance
from keras_bigbatch.callbacks import _first_weights
from keras_bigbatch.callbacks._distance_record import Record
from keras_bigbatch.callbacks._stored_arrays import StoredArrays
from tests.callbacks.distance_files import HISTORY, begun, loaded
from tests.callbacks.fits import dense_model, fit


def one_piece(path, model, **more):
    """A file that has w_0 itself."""
    weights = {
        f"w_0/{index}/{variable.path}": np.asarray(keras.ops.convert_to_numpy(variable.value))
        for index, variable in enumerate(model.trainable_variables)
    }
    arrays = {"update": np.array([1, 2, 3]), "distance": np.array([0.1, 0.2, 0.3])}
    np.savez(path, **{**arrays, **weights, **more})


def test_files_of_another_model_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    begun(path, dense_model())
    again = dense_model()  # `sequential_1`, but the same model.
    weights, history = loaded(path, again, updates=2)
    assert [w.shape for w in weights] == [(6, 16), (16,), (16, 3), (3,)]
    assert history == {"update": [1, 2], "distance": [0.1, 0.2]}
    again.layers[0].trainable = False
    with pytest.raises(ValueError, match="has 4 trainable variables, but the model has 2"):
        loaded(path, again)
    with pytest.raises(ValueError, match=r"hidden/kernel' with shape \(6, 16\).*\(6, 8\)"):
        loaded(path, dense_model(width=8))
    other = dense_model()
    other.layers[0].kernel._path = "first/kernel"
    with pytest.raises(ValueError, match=r"hidden/kernel' where the model has '.*first/kernel'"):
        loaded(path, other)
    with pytest.raises(ValueError, match="Pass per_layer=False again"):
        loaded(path, dense_model(), layers=["hidden", "output"])


def test_a_file_of_one_piece_is_read_and_taken_apart(tmp_path):
    path, model = tmp_path / "d.npz", dense_model()
    begun(path, dense_model())  # As after a kill, or for whatever reason: w_0 of another one.
    one_piece(path, model)
    first = model.get_weights()
    weights, history = loaded(path, model)
    np.testing.assert_array_equal(weights[0], first[0])
    assert history == HISTORY
    model.optimizer.iterations.assign(3)
    fit(model, WeightDistance(path=path), epochs=1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["d.npz", "d.w_0.npz"]
    with np.load(path) as file:
        assert not any(name.startswith("w_0/") for name in file.files)
    weights, history = loaded(path, model, updates=13)
    np.testing.assert_array_equal(weights[0], first[0])
    assert history["update"] == [*range(1, 11), 13]


def test_w_0_is_written_once(tmp_path):
    path = tmp_path / "d.npz"
    weights, times = tmp_path / "d.w_0.npz", []
    seen = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: times.append(weights.stat().st_mtime_ns)
    )
    model = dense_model(width=1000)
    fit(model, WeightDistance(path=path), seen)
    fit(model, WeightDistance(path=path), seen)
    assert len(times) == 6
    assert len(set(times)) == 1
    assert weights.stat().st_size > 4 * model.count_params() > 5 * path.stat().st_size


def test_moved_together_and_apart(tmp_path):
    model, one, other = dense_model(), tmp_path / "one.npz", tmp_path / "other.npz"
    begun(one, model)[0].save(Record(HISTORY, 0))
    begun(other, dense_model())
    moved = tmp_path / "folder" / "new.npz"
    moved.parent.mkdir()
    one.rename(moved)
    with pytest.raises(ValueError, match=r"first weights, '.*new.w_0.npz', are not.*both files"):
        loaded(moved, model)
    with pytest.raises(ValueError, match=r"'.*one.w_0.npz' is there, but '.*one.npz' is not"):
        loaded(one, model)
    (tmp_path / "one.w_0.npz").rename(moved.with_name("new.w_0.npz"))
    assert loaded(moved, model)[1] == HISTORY
    (tmp_path / "other.w_0.npz").rename(moved.with_name("new.w_0.npz"))
    with pytest.raises(ValueError, match=r"does not belong to .* of another training"):
        loaded(moved, model)


def test_only_what_is_needed_is_read(tmp_path, monkeypatch):
    path, model = tmp_path / "d.npz", dense_model()
    one_piece(path, model, layers=np.zeros((2, 3)), of_the_user=np.zeros(10))
    names, read = [], StoredArrays.read
    monkeypatch.setattr(
        StoredArrays, "read", lambda self, name: names.append(name) or read(self, name)
    )
    loaded(path, model)
    assert names[:2] == ["update", "distance"]
    assert [name[:4] for name in names[2:]] == ["w_0/"] * 4


# --- damage ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["npz", "w_0.npz"])
def test_any_damaged_byte_is_a_value_error_or_harmless(tmp_path, ending):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    file, record = begun(tmp_path / "d.npz", model)
    file.save(record)
    path = tmp_path / f"d.{ending}"
    weights, _ = loaded(tmp_path / "d.npz", model)
    raw = path.read_bytes()
    directory, refused = raw.index(b"PK\x01\x02"), 0
    places = [*range(0, directory, 5), *range(directory, len(raw))]
    for damaged in [
        *(raw[:i] + bytes([raw[i] ^ 0x55]) + raw[i + 1 :] for i in places),
        *(raw[:i] for i in range(0, len(raw), 20)),
    ]:
        path.write_bytes(damaged)
        try:
            again, history = loaded(tmp_path / "d.npz", model)
        except ValueError as error:
            assert str(tmp_path / "d.") in str(error)  # noqa: PT017
            assert "delete the file" in str(error)  # noqa: PT017
            refused += 1
            continue
        assert history == HISTORY
        for one, other in zip(again, weights, strict=True):
            np.testing.assert_array_equal(one, other)
    assert refused > len(places) / 2


@pytest.mark.parametrize(
    "content",
    [
        {"distance": np.array([0.1, 0.2])},
        {"distance": np.array(["a", "b", "c"])},
        {"update": np.array([1.0, 2.0, 3.0])},
        {"update": np.array([1, 3, 2])},
        {"update": np.array([[1, 2, 3]])},
        {"origin": np.array([0, 1])},
        {"rates": np.array([1.0])},
        {"layers": np.zeros((3, 3))},
        {"layers": np.zeros((2, 2))},
    ],
)
def test_arrays_that_do_not_fit_each_other_are_refused(tmp_path, content):
    path, model = tmp_path / "d.npz", dense_model()
    one_piece(path, model, **{"layers": np.zeros((2, 3)), **content})
    with pytest.raises(ValueError, match="not a file that WeightDistance wrote, or it is damaged"):
        loaded(path, model, layers=["hidden", "output"])


def test_file_of_another_program_is_refused(tmp_path):
    path, model = tmp_path / "d.npz", dense_model()
    model.optimizer.iterations.assign(5)
    for content in (b"", b"something else", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"d.npz' is not a file that WeightDistance wrote"):
            fit(model, WeightDistance(path=path))
    with open(path, "wb") as file:
        np.savez(file, update=np.arange(3))
    with pytest.raises(ValueError, match="not a file that WeightDistance wrote"):
        loaded(path, model)
    with open(path, "wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="not a file that WeightDistance wrote"):
        loaded(path, model)


def test_a_line_that_a_kill_cut_off_does_not_count(tmp_path):
    path, model, layers = tmp_path / "d.npz", dense_model(), ["hidden", "output"]
    begun(path, model, layers)
    journal = tmp_path / "d.journal"
    raw = journal.read_bytes()
    assert loaded(path, model, layers)[1]["layers"] == {
        layer: [1 / 20, 2 / 20, 3 / 20] for layer in layers
    }
    for end in range(len(raw)):
        journal.write_bytes(raw[:end])
        _, history = loaded(path, model, layers)
        assert len(history["update"]) == max(raw[:end].count(b"\n") - 1, 0)
        assert all(len(column) == len(history["update"]) for column in history["layers"].values())
    lines = raw.split(b"\n")
    journal.write_bytes(b"\n".join([lines[0], lines[3], *lines[1:]]))
    assert loaded(path, model, layers)[1]["update"] == [1, 2, 3]
    for line in (b"1", b"[1]", b"[2.5, 1, 1, 1]", b'[2, "far", 1, 1]', b"[2, 1]", b"\xff"):
        journal.write_bytes(b"\n".join([*lines[:2], line, *lines[2:]]))
        assert loaded(path, model, layers)[1]["update"] == [1]
    journal.write_bytes(raw.replace(raw[:5], b'"0000'))
    assert loaded(path, model, layers)[1]["update"] == []


def test_digest_is_of_the_content(tmp_path):
    model, other = dense_model(), dense_model()
    for name, each in {"a": model, "b": model, "c": other}.items():
        begun(tmp_path / f"{name}.npz", each)
    a, b, c = (StoredArrays(str(tmp_path / f"{name}.w_0.npz")) for name in "abc")
    with a, b, c:
        assert a.digest == b.digest != c.digest
        assert _first_weights.has_weights(a)
