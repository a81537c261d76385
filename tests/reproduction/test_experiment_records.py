"""What the results of tables and figures say of themselves: the draw, and the criteria."""

import json

import keras
import numpy as np
import pytest

from reproduction import report
from reproduction.__main__ import main
from reproduction.criteria import parts
from reproduction.data import arrays

pytestmark = pytest.mark.usefixtures("stand_in")
if keras.backend.backend() != "torch":
    pytest.skip("nothing is trained here, so one backend is enough", allow_module_level=True)
ROW = ["table1", "demo", "--dataset", "digits", "--scale", 1, 0.1, "--seeds", 4, 5]


def made(folder, *more):
    main([*ROW, *more, "--output", folder])
    return json.loads((folder / "results.json").read_text())


def test_a_draw_is_another_test_set_and_other_trainings(tmp_path, capsys, stand_in):
    loaded, load = [], arrays.load

    def noted(*arguments, **more):
        loaded.append(load(*arguments, **more))
        return loaded[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "load", noted)
        plain, drawn = made(tmp_path), made(tmp_path, "--draw", 5)
    assert (plain["settings"]["draw"], drawn["settings"]["draw"]) == (None, 5)
    assert not np.array_equal(loaded[0].y_test, loaded[1].y_test)
    np.testing.assert_array_equal(loaded[1].x_test, load("digits", draw=5).x_test)
    assert "test samples of draw 5" in drawn["notes"]
    assert "draw" not in plain["notes"]
    # In the same folder: none of the one is taken for the other's.
    assert "kept from an earlier run" not in capsys.readouterr().out
    assert len(stand_in.trainings) == 2 * 10
    made(tmp_path, "--draw", 5)
    assert len(stand_in.trainings) == 2 * 10


@pytest.mark.parametrize(
    "data", [["--dataset", "fashion_mnist"], ["--data-dir", "a-folder"], ["--dataset", "cifar10"]]
)
def test_data_with_one_test_set_refuse_a_draw(data):
    with pytest.raises(SystemExit, match="there is one test set of"):
        main(["table1", "demo", *data, "--draw", "5"])


def test_figures_have_draws_too(tmp_path):
    with pytest.raises(SystemExit, match="there is one test set of fashion_mnist"):
        main(["figure", "hoffer-3", "--dataset", "fashion_mnist", "--draw", 5])


def test_results_have_the_criteria_that_they_were_made_by(tmp_path, monkeypatch):
    folder = tmp_path / "criteria"
    folder.mkdir()
    text = (parts.FOLDER / "hoffer.toml").read_text()
    monkeypatch.setattr(parts, "FOLDER", folder)
    (folder / "hoffer.toml").write_text(text)
    first, made_by = made(tmp_path), parts.stamp_of("five-arms")
    assert first["criteria_file"] == made_by
    assert all("criteria_file" not in training for training in first["trainings"])
    assert "predates these criteria" not in (tmp_path / "report.md").read_text()

    # With other criteria trainings that are kept are no trainings by these.
    (folder / "hoffer.toml").write_text(text.replace("above = 0\n", "above = 0.1\n", 1))
    assert parts.stamp_of("five-arms") != made_by
    assert made(tmp_path)["criteria_file"] == made_by
    assert "predates these criteria" in (tmp_path / "report.md").read_text()
    # Nor are they if some were made afterwards.
    assert made(tmp_path, "--seeds", 4, 5, 6)["criteria_file"] is None


def test_a_report_has_findings(tmp_path):
    made(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "(n = 2 seeds):" in text
    assert "| The large batch is less accurate: SB minus LB " in text
    assert report.QUICK not in text
