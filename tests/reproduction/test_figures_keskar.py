"""The figures of Keskar et al.: made once in a small size, and their parts on known numbers."""

import dataclasses
import json
import math
import types

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from reproduction import minima_measures
from reproduction.data import arrays
from reproduction.experiment import Setting
from reproduction.figures.keskar import minima
from reproduction.figures.keskar.figure_3 import Path as LinePath
from reproduction.figures.keskar.figure_3 import along, rise
from reproduction.figures.keskar.figure_4 import Sharpness
from reproduction.figures.keskar.figure_5 import WarmStart, stages
from reproduction.figures.keskar.figure_6 import Training, epochs_to_measure
from reproduction.findings import UNKNOWN
from reproduction.recipes.demo import small_batch_regime

FIGURES = {figure.name: figure for figure in (Sharpness(), LinePath(), Training(), WarmStart())}


def network(shape, classes, norm):
    """Compiles in a fraction of the time that convolutions take."""
    hidden = keras.layers.Dense(6, use_bias=False)
    layers = [keras.layers.Flatten(), hidden, norm(), keras.layers.ReLU()]
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(classes)])


@pytest.fixture(scope="module")
def setting():
    data = arrays.load("digits", examples=60)
    regime = small_batch_regime(20, 4, data.examples, 0.05)
    return Setting(data, regime, 30, 10, 3.0, (30, 20), quick=True, network=network)


@pytest.fixture(scope="module")
def made(setting):
    """Every case of every figure once, as the runner keeps it."""
    if keras.backend.backend() != "torch":
        pytest.skip("whole figures are made on torch, which compiles nothing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minima_measures, "network", network)
        return {name: run_all(figure, setting) for name, figure in FIGURES.items()}


def run_all(figure, setting):
    results = []
    for case in figure.cases(setting):
        result = case.run(3, keras.callbacks.Callback())
        plain = json.loads(json.dumps({**case.recipe, **result}))
        known = {"arm": case.arm, "seed": 3, "scored": setting.data.scored}
        results.append({**known, **plain})
    return results


def draws(figure, results):
    """That the picture can be drawn, and has two panels with something in each."""
    picture = Figure()
    figure.draw(picture, results)
    picture.savefig("/dev/null", format="png")
    return len(picture.axes) == 2 and all(axes.has_data() for axes in picture.axes)


# --- made once


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_made_from_what_its_cases_return(made, name):
    figure, results = FIGURES[name], made[name]
    assert all(result["seconds"] > 0 for result in results)
    assert figure.table(results).startswith("| ")
    assert {each.verdict for each in figure.findings(results)} == {UNKNOWN}  # one seed
    assert "Not every arm fits the training set" in figure.caveats(results)
    assert ("at most 4 passes" in figure.caveats(results)) == (name != "keskar-path")
    assert draws(figure, results)
    assert len(json.dumps(results)) < 20_000 * len(results)


def test_sharpness_has_a_training_a_batch_and_a_smaller_value_in_a_smaller_box(made):
    results = made["keskar-sharpness"]
    assert [result["batch"] for result in results] == [20, 30]
    assert [result["updates"] for result in results] == [12, 8]
    for result in results:
        assert 0 < result["sharpness_smaller_box"] < result["sharpness"]
        assert 0 < result["sharpness_subspace_smaller_box"] < result["sharpness_subspace"]


def test_path_ends_where_the_trainings_ended(made):
    (result,) = made["keskar-path"]
    path = result["path"]
    for end, alpha in (("small", 0), ("large", 1)):
        scores = [
            np.interp(alpha, path["alphas"], path[key])
            for key in ("interpolated", "train_accuracy", "test_accuracy")
        ]
        wanted = [
            result["ends"][end][key] for key in ("train_loss", "train_accuracy", "test_accuracy")
        ]
        np.testing.assert_allclose(scores, wanted, rtol=1e-4)


def test_training_starts_at_the_same_place_and_ends_at_other_ones(made):
    small, large = made["keskar-training"]
    assert small["measured_at"] == [0, 1, 2, 3, 4]
    assert small["losses"][0] == pytest.approx(large["losses"][0], rel=1e-5)
    assert small["sharpness"][0] == pytest.approx(large["sharpness"][0], rel=1e-3)
    assert small["losses"][-1] < small["losses"][0]
    assert small["losses"][-1] != pytest.approx(large["losses"][-1], rel=1e-3)


def test_warm_start_counts_both_stages_and_keeps_the_accuracy_between_them(made):
    small, *warm = made["keskar-warm-start"]
    assert [result["arm"] for result in warm] == ["0 epochs", "1 epochs"]
    # 3 updates an epoch at 20, 2 at 30.
    assert [result["updates"] for result in (small, *warm)] == [12, 8, 3 + 8]
    assert small["small_accuracy"] == small["test_accuracy"]
    assert warm[0]["small_accuracy"] < 0.3  # that of initial weights: chance is 0.1


# --- parts, on every backend


def test_weights_are_kept_at_the_epochs_that_were_asked_for(setting):
    weights = minima.Weights([0, 2, 3])
    progress = keras.callbacks.Callback()
    plan = setting.regime.at(30, rule="none", stretch=0.75)
    setting.case("LB", plan, setting.plain).run(1, [weights, progress])
    assert plan.epochs == 3
    assert list(weights.kept) == [0, 2, 3]
    keras.utils.set_random_seed(1)
    start = setting.network(setting.data.shape, setting.data.classes, setting.plain).get_weights()
    for kept, wanted in ((0, start), (3, progress.model.get_weights())):
        for a, b in zip(weights.kept[kept], wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights.kept[2][0], weights.kept[3][0])


def test_accuracies_on_the_line_are_those_of_evaluate(setting, monkeypatch):
    monkeypatch.setattr(minima_measures, "network", network)
    data = setting.data
    model = network(data.shape, data.classes, keras.layers.BatchNormalization)
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    ends = [
        [rng.uniform(0.1, 1, w.shape).astype("float32") for w in model.get_weights()]
        for rng in map(np.random.default_rng, (1, 2))
    ]
    path = along(*ends, data, minima.QUICK_EFFORT)
    for alpha in (0.5, 1.0):
        mixed = [(1 - alpha) * a + alpha * b for a, b in zip(*ends, strict=True)]
        model.set_weights(mixed)
        place = next(i for i, a in enumerate(path["alphas"]) if math.isclose(a, alpha))
        for part in ("train", "test"):
            accuracy = model.evaluate(**data.scoring(part), verbose=0)[1]
            assert path[f"{part}_accuracy"][place] == pytest.approx(accuracy, abs=1e-4)


def test_rise_of_a_parabola_is_its_factor_times_the_square():
    alphas = np.linspace(-0.5, 1.5, 9)
    path = {"alphas": alphas.tolist(), "estimated": (3 * alphas**2).tolist()}
    assert rise(path, "estimated", "small") == pytest.approx(3 / 16)
    path["estimated"] = (5 * (alphas - 1) ** 2 + alphas).tolist()  # a slope does not count
    assert rise(path, "estimated", "large") == pytest.approx(5 / 16)


def test_epochs_to_measure_grow_by_a_factor_and_end_with_the_last():
    assert epochs_to_measure(243) == [0, 1, 3, 9, 27, 81, 243]
    assert epochs_to_measure(4) == [0, 1, 2, 3, 4]


def test_stages_are_the_plan_after_the_small_epochs(setting):
    (cold,) = stages(setting.regime, 30, 0)
    small, large = stages(setting.regime, 30, 2)
    assert (cold.batch, cold.epochs) == (large.batch, large.epochs) == (30, 4)
    assert (small.batch, small.epochs, small.learning_rate) == (20, 2, 0.05)
    rates = [float(large.learning_rate(update)) for update in (0, 3, 4, 6)]
    np.testing.assert_allclose(rates, [0.05, 0.05, 0.005, 0.0005], rtol=1e-6)


def test_a_pipeline_is_refused_with_what_to_pass(setting):
    pipeline = types.SimpleNamespace(name="cifar10")
    streamed = dataclasses.replace(setting, data=pipeline)
    for figure in FIGURES.values():
        with pytest.raises(ValueError, match="cifar10 is a pipeline: pass --dataset mnist1d"):
            figure.cases(streamed)
