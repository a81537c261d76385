"""What is kept of a training: by what it is known, and that there is never half a file."""

import pytest

from reproduction import runs


def test_another_source_or_version_is_another_experiment(tmp_path, monkeypatch):
    folder, recipe = tmp_path / "runs", {"batch": 4}
    runs.Runs(folder, {"data": "digits"}, ["data/arrays.py"]).keep("SB", 1, recipe, {"updates": 3})
    assert (
        runs.Runs(folder, {"data": "digits"}, ["data/arrays.py"]).get("SB", 1, recipe)["updates"]
        == 3
    )
    assert runs.Runs(folder, {"data": "digits"}, ["statistics.py"]).get("SB", 1, recipe) is None
    assert runs.Runs(folder, {"data": "mnist"}, ["data/arrays.py"]).get("SB", 1, recipe) is None
    monkeypatch.setattr(runs, "versions", lambda: {"keras": "0"})
    assert runs.Runs(folder, {"data": "digits"}, ["data/arrays.py"]).get("SB", 1, recipe) is None


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new folder" / "file"
    runs.write_atomically(path, lambda part: part.write_text("old"))

    def fail(part):
        part.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        runs.write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_of_the_package_only_what_decides_counts(tmp_path):
    def known(package):
        return runs.Runs(tmp_path, {}, [], package).sources["keras_bigbatch"]

    assert known(["layers/*.py"]) == known(["layers/*.py", "layers/_m*.py"])
    assert known(["layers/*.py"]) != known(["layers/*.py", "_arguments.py"])
    assert runs.Runs(tmp_path, {}, []).sources["keras_bigbatch"] == known(["**/*.py"])


def test_a_log_has_a_line_a_minute(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(runs.time, "perf_counter", lambda: now[0])
    progress = runs.ProgressLine("3 of 15  SB", 4)
    for epoch in range(4):
        now[0] += 40
        progress.on_epoch_end(epoch, {"loss": 0.5})
    assert capsys.readouterr().out.splitlines() == [
        "3 of 15  SB  epoch 2/4  loss 0.5000  80 s",
        "3 of 15  SB  epoch 4/4  loss 0.5000  160 s",
    ]


def test_trainings_are_counted(tmp_path, capsys):
    cases = [runs.Case(arm, {}, 1, lambda *_: {"seconds": 1.0}) for arm in ("SB", "+GBN")]
    kept = runs.Runs(tmp_path, {}, [])
    kept.make(cases, [7, 8], lambda result: "done", time_left=True)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("1 of 4  seed 7  SB    done  ")
    assert first.endswith(" s left")
    assert last == "4 of 4  seed 8  +GBN  done"
