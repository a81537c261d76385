"""Hoffer et al.'s figures and the stretch: made once at toy size; recipes; pure functions."""

import dataclasses
import json
import math
import types

import keras
import numpy as np
import pytest

from reproduction import report, statistics
from reproduction.data import arrays
from reproduction.experiment import Setting
from reproduction.figures.hoffer import batch_sweep, short_histories
from reproduction.figures.hoffer import figure_2 as hoffer_2
from reproduction.figures.hoffer import figure_4 as hoffer_4
from reproduction.figures.hoffer.figure_1 import ErrorByBatch
from reproduction.figures.hoffer.figure_2 import DistanceOverUpdates
from reproduction.figures.hoffer.figure_3 import RegimesCompared
from reproduction.figures.hoffer.figure_4 import RandomPotentialAtStart
from reproduction.figures.hoffer.figure_6 import NoiseOrRate
from reproduction.figures.hoffer.figure_7 import DistanceByBatch
from reproduction.figures.stretch import Stretch, stretches
from reproduction.findings import UNKNOWN
from reproduction.recipes.demo import small_batch_regime
from reproduction.runs import HERE, ProgressLine

FIGURES = {
    figure.name: figure()
    for figure in (
        ErrorByBatch,
        DistanceOverUpdates,
        RegimesCompared,
        RandomPotentialAtStart,
        NoiseOrRate,
        DistanceByBatch,
        Stretch,
    )
}


def small_network(shape, classes, norm):
    """One hidden layer: it is compiled in no time."""
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(4, use_bias=False),
            norm(),
            keras.layers.Dense(classes),
        ]
    )


def setting_of(examples, epochs, batches, **more):
    """A setting with the demo's recipe: rates 0.05, 0.005, 0.0005 from 1/2 and 3/4 on."""
    regime = small_batch_regime(batches[0], epochs, examples, 0.05)
    return Setting(
        regime=regime,
        large_batch=batches[-1],
        virtual_batch=8,
        stretch=3.0,
        batches=batches,
        **more,
    )


@pytest.fixture(scope="module")
def default():
    """The default setting's sizes; nothing is trained with it."""
    data = types.SimpleNamespace(examples=4000)
    return setting_of(4000, 150, (40, 20, 100, 1000), data=data)


@pytest.fixture(scope="module")
def made():
    """Every figure's results, by name, at toy size and as they come back from the JSON."""
    if keras.backend.backend() != "torch":
        pytest.skip("whole figures are made on torch, which compiles nothing")
    data = arrays.load("digits", examples=100)
    # As many to score on: one shape for the evaluations, so one compilation.
    data = dataclasses.replace(data, x_test=data.x_test[:100], y_test=data.y_test[:100])
    setting = setting_of(100, 4, (20, 50), data=data, quick=True, network=small_network)
    results = {}
    for name, figure in FIGURES.items():
        results[name] = []
        for case in figure.cases(setting):
            result = case.run(3, ProgressLine(case.arm, case.epochs))
            known = {"arm": case.arm, "seed": 3, "scored": data.scored}
            results[name].append(json.loads(json.dumps({**known, **case.recipe, **result})))
    return results


@pytest.mark.parametrize("name", FIGURES)
def test_table_findings_and_picture_come_from_the_json(name, made, tmp_path):
    figure, results = FIGURES[name], made[name]
    assert len({result["arm"] for result in results}) == len(results)
    lines = figure.table(results).splitlines()
    assert len(lines) == 2 + len(results) - (1 if name == "hoffer-7" else 0)
    assert len({line.count("|") for line in lines}) == 1
    if name != "stretch":  # whose ratio of batches is too small here for its stretch of 4
        assert {found.verdict for found in figure.findings(results)} == {UNKNOWN}
    assert figure.caveats(results) == "" or figure.caveats(results).endswith(".")
    content = {"data": "digits", "settings": {"quick": True}}
    again = [{**result, "seed": 4} for result in results]
    for trainings in (results, results + again):
        report.draw(tmp_path / "figure.png", figure, content, trainings)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", FIGURES)
def test_figures_name_their_sources_and_keep_little(name, made):
    assert all((HERE / source).is_file() for source in FIGURES[name].sources)
    assert len(json.dumps(made[name])) < 2500 * len(made[name])
    assert all(result["seconds"] > 0 for result in made[name])


def test_updates_are_those_of_the_plans(made):
    for name, results in made.items():
        for result in (result for result in results if name != "hoffer-4"):
            steps = math.ceil(100 / result["batch"])
            assert result["updates"] == steps * result["epochs"], (name, result["arm"])
            assert result["weight_distance"]["update"][-1] == result["updates"]
            assert result["curve"]["epoch"][-1] == result["epochs"]
    assert {result["updates"] for result in made["hoffer-2"]} == {hoffer_2.QUICK_UPDATES}
    assert [result["updates"] for result in made["hoffer-6"]] == [8, 8, 8, 10]  # whole epochs


def test_noise_lengthens_the_first_step(made):
    plain, _, noisy, _ = made["hoffer-6"]
    first, other = (result["weight_distance"]["distance"] for result in (plain, noisy))
    assert noisy["gradient_noise"] == 1.5
    assert "gradient_noise" not in plain
    # One update from the same weights with the same samples at the same rate.
    assert first[0] != other[0]
    assert 0.3 < first[0] / other[0] < 1


# --- recipes, at the default setting


def test_recipes_are_plain_and_distinct(default):
    for figure in FIGURES.values():
        recipes = [json.dumps(case.recipe) for case in figure.cases(default)]
        assert len(set(recipes)) == len(recipes), figure.name


def test_updates_are_equal_across_the_batches_of_figure_2(default):
    cases = FIGURES["hoffer-2"].cases(default)
    recipes = [case.recipe for case in cases]
    updates = [math.ceil(4000 / each["batch"]) * each["epochs"] for each in recipes]
    assert set(updates) == {1000}
    rates = {each["batch"]: each["rates_from_update"] for each in recipes[4:]}
    assert [each["batch"] for each in recipes] == [20, 40, 100, 1000, 20, 100, 1000]
    assert all(each["rates_from_update"] == {"0": 0.05} for each in recipes[:4])
    for batch, constant in rates.items():
        assert constant == {"0": pytest.approx(0.05 * math.sqrt(batch / 40))}
    assert [each["virtual_batch"] for each in recipes] == [None] * 5 + [8, 8]


def test_control_of_figure_6_drops_its_rates_where_the_large_batch_does(default):
    cases = {case.arm: case.recipe for case in FIGURES["hoffer-6"].cases(default)}
    plain, control = cases["LB"], cases["SB stopped"]
    assert (plain["batch"], plain["epochs"]) == (1000, 150)
    assert (control["batch"], control["epochs"]) == (40, 6)  # 600 updates, too
    assert list(plain["rates_from_update"]) == ["0", "300", "448"]
    assert control["rates_from_update"] == plain["rates_from_update"]
    assert cases["LB + noise"]["gradient_noise"] == 24
    rate = cases["LB + LR"]["rates_from_update"]["0"]
    assert rate == pytest.approx(5 * plain["rates_from_update"]["0"])


def test_figure_7_has_half_the_epochs_and_both_rates(default):
    recipes = [case.recipe for case in FIGURES["hoffer-7"].cases(default)]
    assert {each["epochs"] for each in recipes} == {75}
    assert [each["batch"] for each in recipes] == [20, 40, 100, 1000, 20, 100, 1000]


def test_stretched_recipes(default):
    cases = {case.arm: case.recipe for case in FIGURES["stretch"].cases(default)}
    ghosts = {"+LR": None, "+GBN": 8, "+GBN, ghosts of 40": 40}
    small = {"SB": None, "SB, ghosts of 8": 8}
    assert len(cases) == 3 * 5 + 2 * 3
    for series, size in (ghosts | small).items():
        batch, stretches = (40, (1, 2, 4)) if series in small else (1000, (1, 2, 4, 8, 25))
        mine = [cases[f"{series}, stretch {stretch}"] for stretch in stretches]
        assert [each["epochs"] for each in mine] == [40 * stretch for stretch in stretches]
        assert {(each["batch"], each["virtual_batch"]) for each in mine} == {(batch, size)}
        kind = "BatchNormalization" if size is None else "GhostBatchNormalization"
        assert {each["normalization"] for each in mine} == {kind}
    assert cases["SB, stretch 1"]["rates_from_update"] == {
        "0": pytest.approx(0.05),
        "2000": pytest.approx(0.005),
        "3000": pytest.approx(0.0005),
    }
    assert cases["+GBN, stretch 25"]["rates_from_update"] == {
        "0": pytest.approx(0.25),
        "2000": pytest.approx(0.025),
        "3000": pytest.approx(0.0025),
    }


def test_a_setting_without_a_larger_batch_is_refused(default):
    alone = types.SimpleNamespace(batches=(20, 40), regime=default.regime)
    with pytest.raises(ValueError, match="above the recipe's own, 40"):
        batch_sweep.swept(alone)
    with pytest.raises(ValueError, match="ratio of 1"):
        stretches(1.0)


# --- pure functions


def test_stretches_end_at_the_ratio():
    assert stretches(25.0) == [1, 2, 4, 8, 25]
    assert stretches(2.0) == [1, 2]
    assert stretches(16) == [1, 2, 4, 8, 16]


def test_histories_are_kept_at_equal_ratios_and_six_digits():
    history = {"update": list(range(1, 993)), "distance": [x / 3 for x in range(1, 993)]}
    kept = short_histories.log_spaced(history, "update", 10)
    points = [*range(1, 10), 10, 13, 16, 20, 25, 32, 40, 50, 63, 79, 100, 126, 158, 200, 251]
    assert kept["update"] == [*points, 316, 398, 501, 631, 794, 992]
    assert kept["distance"][-1] == 330.667
    sparse = {"update": [4, 8, 12], "distance": [1.0, 2.0, 3.0]}  # 12 is no point, but the end
    assert short_histories.log_spaced(sparse, "update", 10) == sparse


def test_noise_is_half_of_student_s_interval():
    # Of two seeds, by hand: the quantile of Cauchy's distribution is a tangent.
    reach = math.tan(math.pi * 0.475)
    assert statistics.mean_and_noise([1.0, 3.0]) == (2, pytest.approx(reach))
    assert statistics.mean_and_noise([1.5]) == (1.5, 0)
    assert all(map(math.isnan, statistics.mean_and_noise([math.nan, 1.0])))
    assert report.with_noise([1.0, 3.0]) == f"2.00 ± {reach:.2f}"
    assert report.with_noise([1.5]) == "1.50"


def test_first_samples_are_the_same_of_arrays_and_of_a_data_set():
    tensorflow = pytest.importorskip("tensorflow")
    x, y = np.arange(10.0)[:, None], np.arange(10)
    arrays = types.SimpleNamespace(scoring=lambda part: {"x": x, "y": y, "batch_size": 3})
    batches = tensorflow.data.Dataset.from_tensor_slices((x, y)).batch(3)
    pipeline = types.SimpleNamespace(scoring=lambda part: {"x": batches})
    given = hoffer_4.first_samples(arrays, 5)
    ((x_first, y_first),) = hoffer_4.first_samples(pipeline, 5)["x"].as_numpy_iterator()
    np.testing.assert_array_equal(given["x"], x_first)
    np.testing.assert_array_equal(given["y"], y_first)
    assert given["batch_size"] == len(x_first) == 5
