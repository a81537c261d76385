"""Experiments that are made of the same trainings: by their recipes, and by how they ended."""

import copy

import keras
import pytest

from reproduction.shared_trainings import shared, trainings_of
from scripts import evidence

RECIPE = {
    "network": "network",
    "batch": 40,
    "epochs": 150,
    "rates_from_update": {"0": 0.05},
    "normalization": "BatchNormalization",
    "virtual_batch": None,
}


def made(*results, backend="jax", **settings):
    common = {"data": "mnist1d", "draw": 7, "trained_on": 4000, "scored_on": "10 test samples"}
    common |= {"policy": "float32", "devices": None, "quick": False, **settings}
    trainings = [{"arm": "SB", "seed": 10, **result} for result in results]
    return {"settings": common, "versions": {"backend": backend}, "trainings": trainings}


def same(one, other):
    found = shared({"one": one, "other": other})
    assert bool(found["one"]) == bool(found["other"])
    return found["one"] == ["other"]


@pytest.mark.parametrize(
    "label",
    [
        {"arm": "batch 40"},
        {"rates": "unchanged", "base_batch": 40, "label": "small batch"},
        {"series": "SB", "stretch": 1, "effort": {"passes": 4}, "measured_at": [1, 2]},
        {"momentum": 0.9, "global_clipnorm": 5.0, "weight_decay": 0.0, "gradient_noise": 0.0},
        {"test_accuracy": 0.9, "seconds": 2.0, "sharpness": 1.0},
    ],
)
def test_labels_results_and_usual_values_set_no_trainings_apart(label):
    assert same(made(RECIPE), made({**RECIPE, **label}))


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 11},
        {"batch": 20},
        {"epochs": 75},
        {"rates_from_update": {"0": 0.05, "100": 0.005}},
        {"normalization": "GhostBatchNormalization", "virtual_batch": 8},
        {"network": "f1"},
        {"momentum": 0.0},
        {"global_clipnorm": None},
        {"weight_decay": 0.0001},
        {"augmentation": "crop"},
        {"gradient_noise": 24.0},
        {"discarded": 0.3},
        {"optimizer": "plain SGD"},
    ],
)
def test_everything_else_does(other):
    assert not same(made(RECIPE), made({**RECIPE, **other}))


@pytest.mark.parametrize(
    "other",
    [
        {"data": "digits"},
        {"draw": 8},
        {"trained_on": 400},
        {"scored_on": "10 held-out samples"},
        {"policy": "mixed_bfloat16"},
        {"backend": "torch"},
    ],
)
def test_so_does_what_all_have_in_common(other):
    assert not same(made(RECIPE), made(RECIPE, **other))


def test_one_training_in_common_is_enough():
    assert same(made(RECIPE, {**RECIPE, "batch": 20}), made({**RECIPE, "batch": 9}, RECIPE))


def test_a_measurement_shares_the_trainings_it_starts_from():
    pair = {"small": RECIPE, "large": {**RECIPE, "batch": 1000}}
    assert same(made(pair), made(RECIPE))
    assert same(made(pair), made({**RECIPE, "batch": 1000}))
    assert not same(made(pair), made({**RECIPE, "batch": 100}))
    # Of the initial weights nothing is trained.
    assert trainings_of(made({**RECIPE, "epochs": 0}, {"mode": "training"})) == set()


def test_equal_ends_are_of_one_training():
    ends = {"train_loss": 0.1234567, "test_loss": 0.7654321, "epochs": 150}
    one, other = made({**RECIPE, **ends}), made({"batches": [40], "rate": 0.05, **ends})
    assert same(one, other)
    for key, value in (("train_loss", 0.1234568), ("test_loss", None), ("seed", 11)):
        changed = copy.deepcopy(other)
        changed["trainings"][0][key] = value
        assert not same(one, changed)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="from JSON, the same everywhere")
def test_published_trainings_of_one_recipe_have_one_end():
    """Of the results that the same code made on the same machine: so nothing is left out."""
    ends = {}
    for name, _, content in evidence.published():
        place = [content[key] for key in ("versions", "hardware")]
        place.append(content["sources"]["keras_bigbatch"])
        for result in content["trainings"]:
            if result.get("train_loss") is not None and "rates_from_update" in result:
                alone = {**content, "trainings": [{**result, "train_loss": None}]}
                (recipe,) = trainings_of(alone)
                end = (result["train_loss"], result["test_loss"])
                ends.setdefault((str(place), recipe), {}).setdefault(end, []).append(name)
    several = [found for found in ends.values() if len(found) > 1]
    assert [
        found for found in several if len({n for each in found.values() for n in each}) > 1
    ] == []
