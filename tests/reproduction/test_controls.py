"""The demo's controls: their arms, the command, and what it makes of the results."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from reproduction import controls, controls_report, training
from reproduction.__main__ import parse
from reproduction.data import arrays
from reproduction.demo import five_arms
from reproduction.paired import contrast, with_interval
from reproduction.recipes.demo import recipe_for, small_batch_regime
from reproduction.statistics import by_arm
from scripts import evidence
from tests.reproduction.helpers import ROOT, only_on, printed, small_network

CRITERIA = controls.Controls("controls")
ARMS = {arm.name: arm for arm in CRITERIA.arms("mnist1d")}


def test_the_first_five_arms_are_the_demos():
    recipe = recipe_for("mnist1d")
    regime = small_batch_regime(40, recipe["epochs"], 4000, recipe["learning_rate"])
    demos = five_arms(regime, 1000, recipe["virtual_batch"], recipe["stretch"])
    assert list(ARMS)[:5] == list(demos)
    for name, arm in demos.items():
        mine = ARMS[name].training(regime, 1000)
        assert training.recipe(mine) == training.recipe(arm)


def test_the_controls_differ_in_one_thing():
    for name, of, change in (
        ("SB, ghosts of 8", "SB", {"ghost_batch": 8}),
        ("LB, ghosts of 8", "LB", {"ghost_batch": 8}),
        ("+LR, three times as long", "+LR", {"stretch": 3}),
        ("+GBN, ghosts of 40", "+GBN", {"ghost_batch": 40}),
        ("+RA, ghosts of 40", "+RA", {"ghost_batch": 40}),
    ):
        assert ARMS[name] == replace(ARMS[of], name=name, **change)


def test_the_arms_of_the_statistics_differ_in_them_alone():
    arms = controls.Controls("statistics").arms("mnist1d")
    chosen = [arm.chosen() for arm in arms]
    assert len({tuple(each.values()) for each in chosen}) == len(arms) == 6
    for arm, given in zip(arms, chosen, strict=True):
        assert arm.name == f"{given['statistics']}, {given['momentum']:g}"
        assert replace(ARMS["+GBN"], name=arm.name, **given) == arm
        layer = arm.training(small_batch_regime(40, 4, 4000, 0.1), 1000).norm()
        assert (layer.statistics, layer.momentum) == tuple(given.values())


@pytest.mark.parametrize("name", controls.NAMES)
def test_every_file_can_be_named(name):
    assert parse(["controls", "--criteria", name]).criteria == name


def test_the_command(tmp_path, digits, monkeypatch):
    only_on("jax")
    monkeypatch.setattr(training, "train", partial(training.train, make_model=small_network))
    drawn = []
    monkeypatch.setattr(arrays, "load", lambda name, draw: (drawn.append(draw), digits[0])[1])
    few = [ARMS["LB"], ARMS["LB, ghosts of 8"]]
    monkeypatch.setattr(controls.Controls, "arms", lambda self, data: few)
    monkeypatch.setattr(controls.Controls, "_check_hypotheses", lambda self: None)
    words = ("controls", "--quick", "--backend", "jax", "--output", tmp_path)
    assert "kept" not in printed(*words)
    assert printed(*words).count("kept from an earlier run") == 2
    assert set(drawn) == {None}, "quick runs leave the fresh test set alone"
    content = json.loads((tmp_path / "results.json").read_text())
    CRITERIA.check(content["trainings"], "mnist1d")
    assert [each["arm"] for each in content["trainings"]] == [arm.name for arm in few]


@pytest.fixture(scope="module")
def content():
    """Trainings in which every remedy gains a point and nothing else does anything."""
    draw = np.random.default_rng(0)
    gains = {"SB": 3, "+LR": 1, "+GBN": 2, "+RA": 3}
    trainings = [
        {
            "arm": name,
            "seed": seed,
            "criteria": CRITERIA.digest,
            "test_accuracy": 0.9 + gains.get(name, 0) / 100 + draw.normal(0, 0.0005),
            "train_accuracy": 1.0,
            "updates": 600,
            "samples": 600_000,
            "seconds": 3.0,
        }
        for name in ARMS
        for seed in CRITERIA.seeds
    ]
    return {
        "data": "mnist1d",
        "scored_on": "10,000 test samples",
        "criteria": CRITERIA.digest,
        "trainings": trainings,
        "hardware": {"cpu": "a CPU", "accelerator": None},
        "versions": {"keras": "3", "backend": "jax", "jax": "1"},
        "command": "python -m reproduction controls",
    }


def test_the_page_judges_by_the_criteria(content):
    text = controls_report.page(CRITERIA, content, {"arms": ""})
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if "|" in line}
    assert "| better " in lines["the rate: +LR vs. LB"]
    assert "| equivalent " in lines["ghosts of 8 at the unscaled rate, vs. LB"]
    assert "equivalent on mnist1d" in lines["everything: +RA vs. SB"]
    assert "| worse " in lines["everything, with the paper's ghosts of 40, vs. SB"]
    assert "600,000" in lines["+RA"]


def test_the_readme_agrees_with_the_results():
    path = evidence.PAGES / "controls" / "results.json"
    found = json.loads(path.read_text())
    CRITERIA.check(found["trainings"], "mnist1d")
    assert not found["settings"]["quick"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    scores = by_arm(found["trainings"], "test_accuracy")
    for name in list(ARMS)[:5]:
        assert f"**{with_interval(scores[name])}**" in readme
    means = {name: 100 * sum(each) / len(each) for name, each in scores.items()}
    low, high = contrast(found["trainings"], ["SB"], ["+RA"]).interval()
    left = f"{means['SB'] - means['+RA']:.2f} ({low:.2f} to {high:.2f})"
    assert f"is {means['SB'] - means['LB']:.2f} (" in readme
    assert f"With everything together, {left} remain" in readme
    assert f"small batch too, by {means['SB, ghosts of 8'] - means['SB']:.2f} (" in readme
    paper = means["SB"] - means["+RA, ghosts of 40"]
    assert f"as large as the small batch, {paper:.2f} (" in readme
