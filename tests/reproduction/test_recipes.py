"""The command for the moved recipes, and what it makes of the results."""

import json

import numpy as np
import pytest

from reproduction import repeated_training
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.moves import noise_report, report
from tests.reproduction.helpers import only_on, printed, small_network

CRITERIA, ARM = Criteria("recipes"), "batches sqrt 500 x1"


@pytest.fixture
def folder(tmp_path, digits, monkeypatch):
    """Where the quick runs of one group lie, made with a network that compiles in no time."""
    only_on("jax")
    monkeypatch.setattr(repeated_training, "network", small_network)
    load = arrays.load
    monkeypatch.setattr(arrays, "load", lambda name, **given: load("digits", **given))
    few = [arm for arm in CRITERIA.arms("mnist1d") if arm.name in ("AdamW small", ARM)]
    monkeypatch.setattr(Criteria, "arms", lambda self, data: few)
    monkeypatch.setattr(Criteria, "_check_hypotheses", lambda self: None)
    words = ("recipes", "--quick", "--backend", "jax", "--groups", "batches", "noise")
    assert "kept" not in printed(*words, "--output", tmp_path)
    again = printed(*words, "--output", tmp_path)
    assert again.count("kept from an earlier run") == 2
    return tmp_path / "mnist1d"


def test_results_say_what_made_them(folder):
    content = json.loads((folder / "results.json").read_text())
    assert content["criteria"] == CRITERIA.digest
    assert content["settings"]["draw"] is None, "quick runs leave the fresh test set alone"
    assert [each["arm"] for each in content["trainings"]] == [ARM]
    CRITERIA.check(content["trainings"], "mnist1d")
    (noise,) = content["noise"]
    assert [point["updates"] for point in noise["points"]] == [8, 15, 22]
    assert (folder / "trainings.csv").read_text().count("\n") == 2


def results(seeds=range(20, 30)):
    """Trainings of all arms of MNIST-1D; `sqrt` is 2 points above all others, `whole` by 2.1."""
    gains = {"AdamW sqrt x": 0.02, "AdamW whole x": 0.021}
    draw = np.random.default_rng(0)
    made = []
    for arm in CRITERIA.arms("mnist1d"):
        gain = next((each for start, each in gains.items() if arm.name.startswith(start)), 0.0)
        for seed in seeds:
            score = 0.9 + gain + draw.normal(0, 0.001)
            made.append(
                {
                    "arm": arm.name,
                    "seed": seed,
                    "criteria": CRITERIA.digest,
                    "test_accuracy": score,
                    "train_accuracy": 0.98 if "linear" in arm.name else 1.0,
                    "updates": 160 + seed,
                    "seconds": 1.0,
                }
            )
            if arm.rule == "adascale":
                made[-1] |= {"mean_gain": 9.0, "gains": [8.0, 10.0]}
    return made


@pytest.fixture(scope="module")
def content():
    point = {"SGD": 100.0, "Adam": 400.0}
    return {
        "data": "mnist1d",
        "criteria": CRITERIA.digest,
        "trainings": results(),
        "sizes": CRITERIA.content["data"]["mnist1d"],
        "sweeps": {"AdamW": {"0.001": 90.0, "0.002": 91.0}, "SGD": {}},
        "rates": {"AdamW": 0.002, "SGD": 0.1},
        "noise": [{"points": [point] * 3}] * 3,
        "by_rate": {"AdamW whole x4": {"0.001": 90.0}, "AdamW whole, betas^k x4": {"0.001": 91.0}},
        "hardware": {"accelerator": None, "cpu": "a processor"},
        "versions": {"backend": "jax", "jax": "1", "keras": "3"},
        "scored_on": "10,000 test samples",
        "command": "python -m reproduction recipes",
    }


def test_hypotheses_are_judged_by_the_margin(content):
    verdicts = {
        hypothesis.name: seeds.verdict(0.5, CRITERIA.confidence)
        for hypothesis, seeds in report.judged(CRITERIA, content).items()
    }
    assert verdicts["AdamW: square root rule against the rate as it was"] == "better"
    assert verdicts["AdamW: betas^k against betas kept, everything else moved"] == "worse"
    decay = verdicts["AdamW: decay and epsilon moved too against only the rate"]
    assert decay == "better, within the margin"
    assert verdicts["SGD: square root against linear rule"].endswith(("equivalent", "the margin"))


def test_the_table_is_of_the_criterias_confidence(content, monkeypatch):
    name = "SGD: square-root rule vs. linear rule"
    rows = {}
    for confidence in (0.95, 1 - 1e-12):
        monkeypatch.setattr(CRITERIA, "confidence", confidence)
        table = report.hypotheses_table(CRITERIA, content)
        (row,) = (line for line in table.splitlines() if f"| {name}" in line)
        assert f"{100 * confidence:g} % interval" in table
        rows[confidence] = row.split("|")[-2].strip()
    assert rows[1 - 1e-12] != rows[0.95]


def test_a_missing_arm_leaves_its_hypotheses_open(content):
    some = [each for each in content["trainings"] if not each["arm"].startswith("AdaScale ")]
    text = report.page(CRITERIA, [content | {"trainings": some, "noise": []}])
    assert text.count("not run") == 2
    assert "### AdaScale" not in text
    assert "### The noise scale" not in text


def test_page_has_every_part(content):
    text = report.page(CRITERIA, [content])
    for part in (
        "Decisions",
        "AdamW, MNIST-1D",
        "SGD, MNIST-1D",
        "AdaScale, MNIST-1D",
    ):
        assert f" {part}\n" in text
    assert "| unscaled " in text
    assert "91.00" in next(line for line in text.splitlines() if "betas^k x4 " in line)
    assert "8.0 at the start, 10.0 towards the end" in text
    assert "Chosen: 0.002." in text
    assert CRITERIA.digest[:12] in text
    rows = [line for line in text.splitlines() if line.startswith("| linear  ")]
    assert all("*" in row for row in rows), "not fitted"


def test_results_of_other_criteria_are_not_shown(content):
    wrong = [{**each, "criteria": "0"} for each in content["trainings"]]
    with pytest.raises(ValueError, match="other criteria"):
        report.page(CRITERIA, [content | {"trainings": wrong}])


def test_where_the_gap_begins():
    # From 95 to 93 between 100 and 400; the level 94 is half way, in logarithm.
    found = noise_report.gap_begins({40: 95.0, 100: 95.0, 400: 93.0}, margin=1.0)
    assert found == pytest.approx(200)
    assert noise_report.gap_begins({40: 95.0, 100: 94.5}, margin=1.0) is None


def test_the_nearer_scale_predicts_unless_both_are_far():
    assert "neither" in noise_report._prediction({"SGD": 10.0, "Adam": 2000.0}, 200.0, 3)
    assert "Adam's predicts" in noise_report._prediction({"SGD": 90.0, "Adam": 300.0}, 200.0, 3)
    assert "no gap" in noise_report._prediction({"SGD": 10.0, "Adam": 2000.0}, None, 3)
