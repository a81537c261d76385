"""The rules compared on a noisy trajectory: what is measured, and what is said of it."""

import csv
import json

import keras
import pytest

from reproduction import moments, moments_page, moments_report, plotting, report
from reproduction.__main__ import main
from reproduction.moments_rules import OPTIMIZERS
from reproduction.trajectories import follow
from scripts import evidence
from tests.reproduction.helpers import PNG, only_on, printed

SETTINGS = moments.SETTINGS | moments.QUICK


@pytest.fixture(scope="module")
def quick_moments(tmp_path_factory):
    """One quick run: what it printed, and where it wrote."""
    only_on("torch")  # it compiles nothing
    folder = tmp_path_factory.mktemp("moments")
    return printed("moments", "--quick", "--output", folder), folder


def measured(**ratios):
    """By optimizer, the deviation's ratio at each k; all else is 1."""

    def large(ratio, value):
        rows = [[value] * 3] * 4
        return {"ratio": ratio, "rule": "linear", "deviation": rows, "drift": [[1.0] * 3] * 4}

    return [
        {
            "arm": arm,
            "seed": seed,
            "seconds": 1.0,
            "large": [large(ratio, value + seed / 100) for ratio, value in by_ratio.items()],
        }
        for seed in (0, 1)
        for arm, by_ratio in ratios.items()
    ]


def summary_of(**ratios):
    return moments_report.summarise(moments_report.rows(measured(**ratios), SETTINGS))


def test_quick_moments_print_a_narrow_table(quick_moments):
    text, _ = quick_moments
    for name in moments.QUICK_OPTIMIZERS:
        assert text.count(f"seed 10  {name:7}") == 1
    assert text.count(report.QUICK) == 2
    assert max(map(len, text.partition("Picture")[0].splitlines())) <= 73


def test_quick_moments_write_csv_json_and_picture(quick_moments):
    _, folder = quick_moments
    with (folder / "trainings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Rules, ratios of the batches and levels of noise.
    assert len(rows) == (3 + 6) * 3 * 3
    content = json.loads((folder / "results.json").read_text())
    assert content["versions"]["backend"] == keras.backend.backend()
    assert len(content["summary"]) == len(rows)
    # The square root of the linear rule's 64, and a trajectory that hardly leaves the random walk.
    deviations = {
        row["rule"]: float(row["deviation_whole"])
        for row in rows
        if (row["arm"], row["ratio"], row["noise"]) == ("SGD", "64", "30.0")
    }
    assert deviations["square root"] / deviations["linear"] == pytest.approx(1 / 8, rel=0.1)
    assert (folder / "figure.png").read_bytes().startswith(PNG)


def test_moments_are_kept_after_ctrl_c(monkeypatch, tmp_path, capsys):
    made = []

    def finish(make, settings, seed):
        made.append((make, seed))
        return {**measured(any={4: 1.0, 16: 1.0, 64: 1.0})[0], "small": {}, "seed": seed}

    def interrupted(*arguments):
        if len(made) == 3:
            raise KeyboardInterrupt
        result = finish(*arguments)
        return {key: result[key] for key in ("seconds", "small", "large")}

    monkeypatch.setattr(moments, "compare", interrupted)
    flags = ["moments", "--quick", "--seeds", "4", "5", "--output", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    monkeypatch.setattr(moments, "compare", lambda *each: {**finish(*each), "arm": "RMSprop"})
    main(flags)
    names = [OPTIMIZERS[name] for name in moments.QUICK_OPTIMIZERS]
    assert made == [(name, seed) for seed in (4, 5) for name in names]
    assert capsys.readouterr().out.count("kept from an earlier run") == 3


def test_the_bounds_are_for_the_mean_with_its_noise():
    summary = summary_of(
        SGD={4: 0.85, 16: 0.80, 64: 1.22},
        Adagrad={4: 0.77, 16: 0.755, 64: 0.74},
        Ftrl={4: 0.77, 16: 1.242, 64: 1.3},
    )
    # Two seeds that are 0.01 apart: two standard errors are 0.01.
    assert moments_report.kept_at(summary, "SGD", "linear") == [4, 64]
    assert moments_report.kept_at(summary, "Adagrad", "linear") == [4, 16]
    assert moments_report.kept_at(summary, "Ftrl", "linear") == []


def test_the_criterion_leaves_out_the_start_and_what_is_beyond_the_noise_scale():
    results = measured(SGD={4: 1.0})
    for result in results:
        table = [[1.0, 1.0, 9.0] for _ in range(4)]
        table[0] = [9.0, 9.0, 9.0]
        result["large"][0]["drift"] = table
    rows = moments_report.rows(results, SETTINGS)
    assert moments_report.keeps(moments_report.summarise(rows), "SGD", "linear", 4)
    for result in results:
        result["large"][0]["drift"][3][1] = 9.0
    rows = moments_report.rows(results, SETTINGS)
    assert not moments_report.keeps(moments_report.summarise(rows), "SGD", "linear", 4)


def test_the_verdict_goes_from_the_most_to_none():
    good, half, bad = {4: 1.0, 16: 1.0}, {4: 1.0, 16: 0.5}, {4: 2.0, 16: 2.0}
    text = moments_report.verdict(summary_of(Lion=bad, Adam=half, SGD=good, Nadam=good))
    assert text == (
        "Kept at k = 4, 16: SGD (linear); Nadam (linear). Kept at k = 4: Adam (linear). "
        "Kept at no k: Lion."
    )


def test_the_picture_is_written(tmp_path):
    summary = summary_of(SGD={4: 1.0, 16: 1.1, 64: 1.2}, Lion={4: 1.0})
    with plotting.written(tmp_path / "figure.png", "a title") as picture:
        moments_report.draw(picture, summary, SETTINGS)
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)


def test_a_length_that_is_not_whole_is_refused():
    optimizers = {"SGD": keras.optimizers.SGD(0.1)}
    with pytest.raises(ValueError, match="8 updates"):
        follow(optimizers, 4, 8, (1.0,), 2, 0)
    with pytest.raises(ValueError, match="not whole chunks"):
        follow(optimizers, 4, 64, (1.0,), 2, 0, parts=(0.1,))


def test_published_moments_are_whole():
    folder = evidence.PAGES / "moments"
    content = json.loads((folder / "results.json").read_text())
    assert content["settings"] == {"quick": False, **moments.SETTINGS}
    assert content["seeds"] == moments.SEEDS
    assert {0, 1}.isdisjoint(content["seeds"]), "the seeds that settings were chosen with"
    arms = [(training["arm"], training["seed"]) for training in content["trainings"]]
    assert arms == [(arm, seed) for seed in moments.SEEDS for arm in OPTIMIZERS]
    with (folder / "trainings.csv").open(newline="") as file:
        rows = [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]
    assert moments_report.summarise(rows) == content["summary"]
    assert moments_report.verdict(content["summary"]) == content["verdict"]
    assert moments_page.page(content, {"figure": ""}).count("| Lion ") == 6 + 2


def _number(text):
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text
