"""The figures of Gao & Zhong, made at a quick size, and what they measure."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from reproduction import figures, report
from reproduction.criteria.parts import parts_of
from reproduction.data import arrays
from reproduction.experiment import Setting
from reproduction.figures.gao_zhong import figure_5 as gao_5
from reproduction.figures.gao_zhong import figure_11 as gao_11
from reproduction.figures.gao_zhong import figure_16 as gao_16
from reproduction.figures.gao_zhong import first_epoch as gao_first_epoch
from reproduction.figures.gao_zhong import gradients as gao_gradients
from reproduction.figures.gao_zhong import trainings as gao_trainings
from reproduction.findings import UNKNOWN
from reproduction.runs import HERE

FIGURES = {figure.name: figure() for figure in figures.FIGURES if figure.name.startswith("gao-")}
BATCHES = [10, 20, 40]


def on_one_backend():
    """Their parts are tested on each, and the trainings are those of the demo."""
    if keras.backend.backend() != "torch":
        pytest.skip("whole figures are made on torch, which compiles nothing")


def perceptron(shape, classes, norm):
    """A quick network with a normalization layer."""
    layers = [keras.layers.Dense(8, use_bias=False), norm(), keras.layers.ReLU()]
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), *layers, keras.layers.Dense(classes)]
    )


def plain_perceptron(shape, classes, norm):
    return keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
    )


def small_setting(**more):
    """120 samples of 3 classes; the regime has 4 epochs of 12 updates."""
    random = np.random.default_rng(0)
    y = np.arange(120, dtype="int32") % 3
    x = random.normal(size=(120, 12, 1)).astype("float32") + y[:, None, None]
    return Setting(
        data=arrays.Data("blobs", 3, "test", x, y, x, y),
        regime=kbb.Regime(10, 4, 120, {0: 0.05, 2: 0.005, 3: 0.0005}, drop_remainder=False),
        large_batch=40,
        virtual_batch=5,
        stretch=2.0,
        batches=(40, 10, 20),
        quick=True,
        **{"network": perceptron, **more},
    )


@pytest.fixture(scope="module")
def setting():
    return small_setting()


# Made by the same function: where recipes are equal, so are trainings, and one is enough.
ALIKE = {"gao-7": "gao-4", "gao-8": "gao-1", "gao-11": "gao-1"}
# Figure 9 has too many; Figure 11's stages are a training of their own.
NINE = ("gradient 0%", "gradient 30%", "+LR, 30% discarded")


@pytest.fixture(scope="module")
def made(setting):
    """Of each figure every case once, by its name; of Figure 9 three."""
    on_one_backend()
    shared, results = {}, {}
    for name, figure in FIGURES.items():
        results[name] = []
        for case in figure.cases(setting):
            if name == "gao-9" and case.arm not in NINE:
                continue
            recipe = {key: value for key, value in case.recipe.items() if key != "rule"}
            made_by = name if case.arm == gao_11.ARMS[1] else ALIKE.get(name, name)
            key = (made_by, json.dumps(recipe))
            if key not in shared:
                shared[key] = case.run(1, keras.callbacks.Callback())
            base = {"arm": case.arm, "seed": 1, "scored": 120}
            results[name].append({**base, **case.recipe, **shared[key]})
    return results


# --- whole figures


def test_names_and_sources():
    for name, figure in FIGURES.items():
        assert name.startswith("gao-")
        assert figure.title
        assert figure.claim
        assert "Gao & Zhong" in figure.paper
        folder = HERE
        assert all((folder / source).exists() for source in figure.sources)


def test_ratios_are_judged_by_their_logarithm():
    parts = [part for figure in FIGURES.values() for part in parts_of(figure.criteria)]
    assert all(part.log == (part.unit == "times") for part in parts)


def test_recipes_are_json_and_arms_are_different(setting):
    for figure in FIGURES.values():
        cases = figure.cases(setting)
        assert len({case.arm for case in cases}) == len(cases)
        recipes = [case.recipe for case in cases]
        assert json.loads(json.dumps(recipes)) == recipes


def test_results_are_json_and_make_a_page(made, tmp_path):
    for name, results in made.items():
        kept = json.loads(json.dumps(results, allow_nan=False))
        assert all(result["seconds"] > 0 for result in kept)
        figure = FIGURES[name]
        if name == "gao-9":
            continue  # has not all of its measurements here
        assert figure.table(kept).startswith("| ")
        assert {each.verdict for each in figure.findings(kept)} == {UNKNOWN}  # one seed
        content = {"data": "blobs", "settings": {"quick": True}}
        report.draw(tmp_path / f"{name}.png", figure, content, kept)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_updates_are_as_counted_by_hand(made):
    # 12 updates an epoch at 10, 6 at 20, 3 at 40; half of 4 epochs, or a quarter.
    updates = {
        name: [result["updates"] for result in results if "updates" in result]
        for name, results in made.items()
    }
    assert updates["gao-1"] == [24, 12, 6, 12, 6]
    assert updates["gao-4"] == updates["gao-7"] == [12, 6, 3]
    assert updates["gao-5"] == updates["gao-8"] == [24, 12, 6]
    assert updates["gao-9"] == [3]
    assert updates["gao-11"] == [6, 15, 15]  # 2 * 3; 12 + 3; five epochs of 3
    assert updates["gao-16"] == [12, 12, 12]
    assert [gao_11._ends(result, result["epochs"]) for result in made["gao-11"]] == [
        [3, 6],
        [12, 15],
        [3, 6, 9, 12, 15],
    ]
    assert made["gao-9"][-1]["discard_updates"] == 1
    assert made["gao-2"][0]["measured"] == [1, 13, 25, 37]
    assert [len(result["stride"]) for result in made["gao-5"]] == [2, 2, 2]


def test_discarding_at_the_start_is_seen_by_the_measurement(made):
    plain, without = (list(made["gao-9"][i]["gradients"].values()) for i in (0, 1))
    assert len(plain) == 3
    assert plain != without


def test_too_few_batches_are_refused(setting):
    two = dataclasses.replace(setting, batches=(10, 40, 40))
    assert len(FIGURES["gao-4"].cases(two)) == 2
    with pytest.raises(ValueError, match=r"3 batches or more.*10 40"):
        FIGURES["gao-8"].cases(two)


# --- measures, on each backend


def test_one_update_of_all_samples_moves_by_the_gradient():
    rate = 1e-3
    regime = kbb.Regime(120, 1, 120, rate, drop_remainder=False)
    setting = dataclasses.replace(small_setting(network=plain_perceptron), regime=regime)
    result = gao_first_epoch.measure(setting, 120, seed=1)
    assert result["updates"] == 1
    x, y = setting.data.x_train[..., 0], np.eye(3)[setting.data.y_train]
    model = gao_trainings.compiled(setting, 1, keras.optimizers.SGD(rate))
    kernel, bias = (v.astype("float64") for v in model.get_weights())
    scores = np.exp(x @ kernel + bias)
    errors = scores / scores.sum(axis=1, keepdims=True) - y
    gradient = np.concatenate([(x.T @ errors / 120).ravel(), errors.mean(axis=0)])
    assert result["parameter_stride"] == pytest.approx(np.abs(gradient).mean(), rel=1e-3)
    # To first order; the second order is the rate times the curvature.
    assert result["own_loss_stride"] == pytest.approx(np.sum(gradient**2), rel=0.05)
    assert result["own_loss_stride"] == pytest.approx(result["whole_loss_stride"], rel=1e-3)
    setting = dataclasses.replace(setting, large_batch=40)
    look = gao_gradients.before_first_update(setting, 1, [gao_gradients.whole(setting.data)])
    assert list(look) == ["dense 1"]
    mean, square = (look["dense 1"][key][0] for key in ("gradient", "squared_gradient"))
    assert mean == pytest.approx(np.abs(gradient).mean(), rel=1e-4)
    assert square == pytest.approx(np.square(gradient).mean(), rel=1e-4)


def test_names_are_the_same_in_every_model():
    paths = ["a/conv1d_7", "batch_normalization_3", "conv1d_8", "dense"]
    assert list(gao_gradients.plain_names(paths).values()) == [
        "conv1d 1",
        "batch normalization 1",
        "conv1d 2",
        "dense 1",
    ]


def test_strides_are_means_over_all_weights():
    model = perceptron((12, 1), 3, keras.layers.BatchNormalization)
    paths = dict.fromkeys(v.path.rpartition("/")[0] for v in model.trainable_variables)
    layers = {path: {"stride": [float(i), 1.0]} for i, path in enumerate(paths)}
    # 12 * 8 weights, 2 * 8 of batch norm, 9 * 3 of the head.
    assert gao_5.strides(model, layers) == pytest.approx([(16 * 1 + 27 * 2) / 139, 1.0])


def test_each_optimizer_trains_at_its_rate(setting):
    recipes = [case.recipe for case in FIGURES["gao-16"].cases(setting)]
    assert [(each["rate"], each["batch"], each["epochs"]) for each in recipes] == [
        (rate, 40, 4) for rate in gao_16.RATES.values()
    ]
