"""One training of each published result again: the same numbers, or a line that says not."""

import json
from functools import partial
from types import SimpleNamespace

import pytest

from reproduction import again, controls, training
from reproduction.data import arrays
from reproduction.questions import distance, ghost_size, onset
from tests.reproduction.helpers import only_on, printed, small_network


@pytest.fixture
def made(tmp_path, digits, monkeypatch):
    """A folder of results, made by a command."""
    only_on("jax")
    monkeypatch.setattr(training, "train", partial(training.train, make_model=small_network))
    monkeypatch.setattr(arrays, "load", lambda name, draw: digits[0])
    few = [arm for arm in controls.Controls("controls").arms("mnist1d") if arm.batch == "large"][:2]
    monkeypatch.setattr(controls.Controls, "arms", lambda self, data: few)
    monkeypatch.setattr(controls.Controls, "_check_hypotheses", lambda self: None)
    printed("controls", "--quick", "--backend", "jax", "--output", tmp_path)
    return tmp_path


def test_a_training_comes_out_the_same(made):
    (made.parent / "page.md").touch()
    assert "the same" in printed("again", made.parent / "page.md", made)


def test_what_differs_is_named_and_fails(made):
    path = made / "results.json"
    content = json.loads(path.read_text())
    for each in content["trainings"]:
        each["test_accuracy"] += 1e-3
    path.write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="different from what is published"):
        printed("again", made)


def test_a_command_that_makes_all_at_once_is_left_alone(tmp_path):
    content = {"command": "python -m reproduction recipes", "trainings": [], "seeds": [1]}
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "made again by `python -m reproduction recipes` only" in printed("again", tmp_path)


@pytest.mark.parametrize(
    ("value", "other", "apart"),
    [(0.9587, 0.95874, 0), (0.9587, 0.9588, 1), (0.9587, float("nan"), 1)],
)
def test_accuracies_differ_by_the_last_digit_of_a_page(value, other, apart):
    found = again.differences({"test_accuracy": value}, {"test_accuracy": other})
    assert len(found) == apart


def test_other_numbers_differ_by_a_hundredth():
    published = {"train_loss": 0.01, "seconds": 1.0, "arm": "LB"}
    assert not again.differences(published, {"train_loss": 0.01009, "seconds": 9.0})
    assert again.differences(published, {"train_loss": 0.0102, "seconds": 1.0})


def test_another_processor_may_differ(made, monkeypatch):
    path = made / "results.json"
    content = json.loads(path.read_text())
    content["hardware"] = {"cpu": "another", "cores": 3}
    content["trainings"] = [{**each, "test_accuracy": 0.0} for each in content["trainings"]]
    path.write_text(json.dumps(content))
    assert "made by 3 x another, here " in printed("again", made)


def test_it_is_the_shortest_of_the_last_seed():
    trainings = [
        {"arm": arm, "seed": seed, "seconds": seconds}
        for arm, seed, seconds in (("a", 1, 2.0), ("b", 1, 1.0), ("b", 2, 0.1))
    ]
    assert again.shortest({"seeds": [2, 1], "trainings": trainings}) == trainings[1]


def test_the_cases_of_an_answered_question_are_those_that_made_it(monkeypatch):
    data = SimpleNamespace(examples=4000, shape=(40, 1), classes=10)
    monkeypatch.setattr(arrays, "load", lambda name, draw: data)
    monkeypatch.setattr(
        arrays, "drawn_mnist1d", lambda count, *draws: SimpleNamespace(examples=count)
    )
    rates = {cell.name: 0.2 for cell in ghost_size.GhostSizes("ghost-size").arms("mnist1d")}
    content = {"data": "mnist1d", "rates": rates, "trainings": []}
    first = ghost_size.cases_of(None, content)[0]
    assert next(iter(first.recipe["rates_from_update"].values())) == pytest.approx(0.2)
    names = {case.arm for case in distance.cases_of(None, content)}
    assert names == {arm.name for arm in distance.Distances("distance").arms("mnist1d")}


@pytest.mark.filterwarnings("ignore:`large_batch` is below")
def test_the_cases_of_the_onset_have_their_own_training_sets(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        arrays,
        "drawn_mnist1d",
        lambda count, *draws: (drawn.append((count, *draws)), SimpleNamespace(examples=count))[1],
    )
    found = onset.cases_of(None, {"data": "mnist1d", "trainings": []})
    assert {case.recipe["examples"] for case in found} == {count for count, *_ in drawn}
    assert {tuple(draws) for _, *draws in drawn} == {(20261301, 20261302)}
