"""WeightDistance on disks that fail: whole files, one warning, nothing left behind."""

import contextlib
import os
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance
from keras_bigbatch.callbacks import _whole_files
from tests.callbacks.distance_files import begun, loaded
from tests.callbacks.fits import dense_model, fit


class Break(keras.callbacks.Callback):
    """Makes renaming fail, as on a full disk, from one epoch's end to another's."""

    def __init__(self, monkeypatch, first, last):
        super().__init__()
        self.broken, replace = False, os.replace

        def broken(*args):
            if self.broken:
                raise OSError(28, "No space left on device")
            replace(*args)

        self.epochs = range(first, last)
        monkeypatch.setattr(os, "replace", broken)

    def on_epoch_begin(self, epoch, logs=None):
        self.broken = epoch in self.epochs


def fit_and_catch(model, *callbacks):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        x = np.random.default_rng(1).normal(size=(20, 6))
        model.fit(x, x[:, :3], batch_size=4, epochs=4, verbose=0, callbacks=list(callbacks))
    return [warning for warning in caught if "could not write" in str(warning.message)]


@pytest.mark.parametrize("last", [3, 9])
def test_a_full_disk_is_one_warning(tmp_path, monkeypatch, last):
    path, model = tmp_path / "d.npz", dense_model()
    callback = WeightDistance(path=path)
    (said,) = fit_and_catch(model, Break(monkeypatch, 1, last), callback)
    assert said.filename == __file__
    assert f"'{path}' ([Errno 28] No space left on device)" in str(said.message)
    assert callback.history["update"] == [*range(1, 11), 13, 15, 16, 20]
    assert sorted(file.name for file in tmp_path.glob("*.npz")) == ["d.npz", "d.w_0.npz"]
    assert not list(tmp_path.glob("*.tmp"))
    # What could be written before, or since there is room again, is there.
    kept = callback.history["update"] if last == 3 else list(range(1, 10))
    assert loaded(path, model, updates=20)[1]["update"] == kept


def test_a_measurement_that_cannot_be_appended_is_a_warning_too(tmp_path):
    path, model = tmp_path / "d.npz", dense_model()
    in_the_way = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: epoch == 1 and (tmp_path / "d.journal").mkdir(),
        on_epoch_end=lambda epoch, logs: epoch == 2 and (tmp_path / "d.journal").rmdir(),
    )
    (said,) = fit_and_catch(model, in_the_way, WeightDistance(path=path))
    assert "d.journal" in str(said.message)
    assert loaded(path, model, updates=20)[1]["update"] == [*range(1, 11), 13, 15, 16, 20]


def test_errors_at_the_start_name_the_path(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot use '.*file.d.npz'.*where files can be read"):
        fit(dense_model(), WeightDistance(path=tmp_path / "file" / "d.npz"))
    (tmp_path / "d.npz").mkdir()
    model = dense_model()
    model.optimizer.iterations.assign(5)
    with pytest.raises(IsADirectoryError, match=r"cannot use '.*d.npz'"):
        fit(model, WeightDistance(path=tmp_path / "d.npz"))
    disk = Break(monkeypatch, 0, 9)
    with pytest.raises(OSError, match=r"cannot use '.*new.npz': \[Errno 28\] No space left"):
        fit(dense_model(), disk, WeightDistance(path=tmp_path / "new.npz"))
    assert not list(tmp_path.glob("new*"))


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def synced(descriptor):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda *args: events.append("rename") or replace(*args))
    file, record = begun(tmp_path / "d.npz", dense_model(), measured=0)
    file.save(record)
    kinds = ["file", "rename", "folder"] if os.path.isdir("/proc/self/fd") else events[:3]
    assert events == kinds * 4


# --- leftovers ---------------------------------------------------------------------------------

_WRITER = """
import runpy, sys, time
write_whole = runpy.run_path(sys.argv[2])["write_whole"]
def write(file):
    file.write(b"half"); file.flush(); print("writing", flush=True); time.sleep(60)
write_whole(sys.argv[1], write)
"""


@contextlib.contextmanager
def writing(path):
    """Another process in the middle of a write."""
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), _whole_files.__file__], stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline() == b"writing\n"
            yield process
        finally:
            process.kill()


def test_leftovers_of_killed_runs_are_removed_and_live_ones_kept(tmp_path):
    path, model = tmp_path / "d.npz", dense_model()
    file, record = begun(path, model)
    foreign = [tmp_path / "d.npz.tmp", tmp_path / f"e.npz.{'0' * 32}.tmp"]
    for each in foreign:
        each.touch()
    with writing(path) as other:
        (live,) = set(tmp_path.glob("d.*.tmp")) - set(foreign)
        leftover = tmp_path / f"d.w_0.npz.{'0' * 32}.tmp"
        leftover.touch()
        for each in (live, leftover, *foreign):
            os.utime(each, times=(time.time() - 3600,) * 2)
        file.save(record)
        assert live.exists()
        assert not leftover.exists()
        other.kill()
        other.wait()
    file.save(record)
    assert not live.exists()
    assert all(each.exists() for each in foreign)
