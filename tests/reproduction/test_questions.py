"""The questions that the papers leave open: their arms, the steering, and the command."""

import json
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from reproduction import training
from reproduction.data import arrays
from reproduction.questions import distance, fashion, ghost_size, onset
from reproduction.recipes.demo import recipe_for, small_batch_regime
from reproduction.recipes.rows import row
from tests.reproduction.helpers import only_on, printed, small_network

GHOSTS, ONSETS = ghost_size.GhostSizes("ghost-size"), onset.Onsets("onset")
DISTANCES = distance.Distances("distance")
RECIPE = recipe_for("mnist1d")
REGIME = small_batch_regime(40, RECIPE["epochs"], 4000, RECIPE["learning_rate"])


def test_every_cell_makes_as_many_updates():
    for examples in (3000, 4000):  # with a hold-out, and without
        data = SimpleNamespace(examples=examples)
        for cell in GHOSTS.arms("mnist1d"):
            case = cell.case(data, 0.1, 3000)
            updates = -(-examples // cell.batch) * case.epochs
            assert updates == pytest.approx(3000, rel=0.01)
            drops = [int(update) for update in case.recipe["rates_from_update"]]
            assert drops == pytest.approx([0, updates / 2, updates * 3 / 4], abs=updates / 50)


def test_a_ghost_as_large_as_the_batch_is_plain_batch_norm():
    data = SimpleNamespace(examples=4000)
    for cell in GHOSTS.arms("mnist1d"):
        recipe = cell.case(data, 0.1, 3000).recipe
        assert cell.name.endswith("plain") == (cell.ghost == cell.batch)
        if cell.ghost == cell.batch:
            assert recipe["normalization"] == "BatchNormalization"
        else:
            assert recipe["virtual_batch"] == cell.ghost


@pytest.mark.filterwarnings("ignore:`large_batch` is below")  # some batches are smaller than 40
def test_onset_cells_follow_the_square_root_rule_for_a_fixed_number_of_epochs():
    runs = ONSETS.content["runs"]
    for cell in ONSETS.arms("mnist1d"):
        recipe = cell.case(SimpleNamespace(examples=cell.examples), runs).recipe
        rate = runs["rate"] * (cell.batch / runs["base_batch"]) ** 0.5
        assert next(iter(recipe["rates_from_update"].values())) == pytest.approx(rate)
        assert recipe["epochs"] == runs["epochs"]
        assert recipe["virtual_batch"] == (cell.ghost or None)
        assert bool(cell.noise) == (
            cell.batch == ONSETS.content["noise"]["batch"] and not cell.ghost
        )


def test_smaller_training_sets_are_parts_of_larger_ones(monkeypatch):
    monkeypatch.setattr(arrays, "MNIST1D_MOST_SAMPLES", 40)
    monkeypatch.setattr(arrays, "MNIST1D_TEST_SAMPLES", 20)
    few, many = (arrays.drawn_mnist1d(count, 5, 6) for count in (10, 40))
    assert (few.examples, many.examples, few.scored) == (10, 40, 20)
    assert np.array_equal(few.y_train, many.y_train[:10])
    # Each is standardised by its own samples, so they agree up to a shift and a factor.
    one, two = few.x_train[..., 0].ravel(), many.x_train[:10, ..., 0].ravel()
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(1, abs=1e-5)
    assert np.array_equal(few.y_test, many.y_test)


def test_the_noise_scale_is_measured_at_its_epochs(digits):
    data = digits[0]
    model = training.compiled(small_network(data.shape, data.classes, training.plain_norm()), "sgd")
    noise = onset.NoiseScale(data, [2])
    model.fit(data.x_train, data.y_train, batch_size=50, epochs=3, verbose=0, callbacks=[noise])
    assert [each["epoch"] for each in noise.found] == [2]
    assert noise.found[0]["value"] > 0


def steered(growth, targets, start, **settings):
    """What the steering makes of a model that moves by `growth` times its rate an epoch."""
    steering = distance.Steering([1.0] * len(targets), targets, start, **settings)
    steering.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=None)))
    far = 0.0
    for epoch in range(len(targets)):
        steering.on_epoch_begin(epoch)
        far += growth * steering.model.optimizer.learning_rate
        steering.on_epoch_end(epoch, {"weight_distance": far})
    return steering


@pytest.mark.parametrize("growth", [0.1, 1.0, 5.0])
def test_steering_brings_the_distance_to_its_target(growth):
    targets = list(np.linspace(1, 50, 50))
    found = steered(growth, targets, growth, strength=0.3, least=0.01, most=100)
    assert found.distances[0] == pytest.approx(targets[0])  # by the first factor alone
    assert found.distances[-1] == pytest.approx(targets[-1], rel=0.1)
    assert found.factors[-1] == pytest.approx(1 / growth, rel=0.3)


def test_steering_keeps_to_its_bounds():
    found = steered(1.0, [100.0] * 5, 1.0, strength=1.0, least=0.5, most=2.0)
    assert set(found.factors) == {2.0}
    found = steered(1.0, [0.001] * 5, 1.0, strength=1.0, least=0.5, most=2.0)
    assert set(found.factors) == {0.5}


def test_without_a_target_the_rates_are_the_recipes():
    for arm in DISTANCES.arms("mnist1d"):
        small = arm.batch == "small"
        plan = REGIME.at(40 if small else 1000, rule=arm.rule, stretch=arm.stretch)
        rates = distance.by_epoch(plan)
        changes = [i for i in range(1, len(rates)) if rates[i] != rates[i - 1]]
        assert changes == [round(75 * arm.stretch), round(112 * arm.stretch)]
        assert rates[0] == pytest.approx(0.05 * (5 if arm.rule == "sqrt" else 1))


def test_steered_arms_follow_arms_that_are_made_before_them():
    seen = []
    for arm in DISTANCES.arms("mnist1d"):
        assert bool(arm.follows) == bool(arm.like)
        assert not arm.follows or {arm.follows, arm.like} <= set(seen)
        seen.append(arm.name)


def test_points_grow_by_a_factor():
    assert distance.points(8, 4) == [1, 2, 4, 8]
    assert distance.points(150, 20)[-1] == 150


@pytest.mark.filterwarnings("ignore:`large_batch` is below")
@pytest.mark.parametrize("name", ["ghost-size", "onset", "distance"])
def test_the_command(name, tmp_path, digits, monkeypatch):
    only_on("jax")
    for module in (distance, ghost_size, onset):
        if hasattr(module, "network"):
            monkeypatch.setattr(module, "network", small_network)
    monkeypatch.setattr("reproduction.repeated_training.network", small_network)
    drawn = []
    monkeypatch.setattr(arrays, "load", lambda name, draw: (drawn.append(draw), digits[0])[1])
    monkeypatch.setattr(
        arrays, "drawn_mnist1d", lambda count, train, test: (drawn.append(test), digits[0])[1]
    )
    criteria = {"ghost-size": GHOSTS, "onset": ONSETS, "distance": DISTANCES}[name]
    few = criteria.arms("mnist1d")
    few = (
        [few[0], few[1], next(a for a in few if a.follows == "SB")]
        if name == "distance"
        else few[:1]
    )
    monkeypatch.setattr(type(criteria), "arms", lambda self, data: few)
    monkeypatch.setattr(type(criteria), "_check_hypotheses", lambda self: None)
    words = ("question", name, "--quick", "--backend", "jax", "--output", tmp_path)
    assert "kept" not in printed(*words)
    assert printed(*words).count("kept from an earlier run") == len(few)
    assert set(drawn) == {None}, "quick runs leave the fresh test set alone"
    content = json.loads((tmp_path / "results.json").read_text())
    criteria.check(content["trainings"], "mnist1d")
    assert [each["arm"] for each in content["trainings"]] == [arm.name for arm in few]
    if name == "distance":
        first, _, last = content["trainings"]
        assert len(first["distance"]) == len(last["steered"]) == 4
        assert [row["epoch"] for row in first["along"]] == [1, 2, 3, 4]
        assert first["along"][-1]["updates"] == first["updates"]
        assert first["along"][-1]["val_accuracy"] == pytest.approx(first["test_accuracy"], abs=1e-6)


def test_fashion_arms_have_the_rows_recipe():
    criteria = fashion.Fashion("fashion")
    data, runs = SimpleNamespace(examples=60_000), criteria.content["runs"]
    f1 = row("F1")
    for arm in criteria.arms("fashion-mnist"):
        recipe = arm.case(data, 0.3, runs).recipe
        small = arm.batch == "small"
        assert recipe["batch"] == (f1.small_batch if small else f1.large_batch)
        assert recipe["epochs"] == 20 * arm.stretch
        assert recipe["virtual_batch"] == (f1.virtual_batch if arm.ghosts else None)
        rates = list(recipe["rates_from_update"].values())
        first = 0.3 * (32**0.5 if arm.rate == "sqrt" else 1)
        assert rates == pytest.approx([first, first / 10, first / 100, first / 1000])
        updates = -(-60_000 // recipe["batch"]) * recipe["epochs"]
        drops = [int(update) / updates for update in recipe["rates_from_update"]]
        assert drops == pytest.approx([0, 0.2, 0.4, 0.6])  # as in the paper's 50 epochs


def test_the_fashion_command(tmp_path, digits, monkeypatch):
    only_on("jax")
    f1 = replace(
        row("F1"), network=small_network, small_batch=20, large_batch=100, virtual_batch=20
    )
    monkeypatch.setattr(fashion, "row", lambda name: f1)
    monkeypatch.setattr(arrays, "load", lambda *_, **__: digits[0])
    words = ("question", "fashion", "--quick", "--backend", "jax", "--output", tmp_path)
    with pytest.raises(SystemExit, match="pass --data-dir"):
        printed(*words)
    printed(*words, "--data-dir", tmp_path)
    content = json.loads((tmp_path / "results.json").read_text())
    arms = [arm.name for arm in fashion.Fashion("fashion").arms("fashion-mnist")]
    assert [each["arm"] for each in content["trainings"]] == arms


def test_seconds_on_the_way_are_those_of_the_training():
    along = distance.Along()
    along.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=keras.ops.array(7))))
    along.on_test_begin()
    along.since -= 100  # as if the scoring had taken so long
    along.on_test_end()
    along.on_epoch_end(0, {"loss": 1, "accuracy": 0, "val_loss": 1, "val_accuracy": 0.5})
    along.on_epoch_end(1, {"loss": 1, "accuracy": 0})
    assert len(along.rows) == 1
    assert along.rows[0]["updates"] == 7
    assert along.rows[0]["seconds"] < 0
