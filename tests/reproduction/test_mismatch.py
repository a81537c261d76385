"""Inference with a sample's own statistics mixed in, and the question about it."""

import json

import keras
import numpy as np
import pytest

from reproduction.data import arrays
from reproduction.questions import mismatch, mismatch_report
from reproduction.remedies.example_weighing import ExampleWeighing
from tests.reproduction.helpers import only_on, printed, small_network

CRITERIA = mismatch.Mismatch("mismatch")


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_example_weighing_mixes_moments(weight):
    draw = np.random.default_rng(0)
    x = draw.normal(2, 3, size=(4, 6, 2)).astype("float32")
    layer = ExampleWeighing(weight)
    layer.build(x.shape)
    gamma, beta, mean, variance = draw.uniform(0.5, 2, size=(4, 2))
    layer.set_weights([gamma, beta, mean, variance])
    wanted = []
    for sample in x.astype("float64"):
        mu = weight * sample.mean(0) + (1 - weight) * mean
        square = weight * (sample**2).mean(0) + (1 - weight) * (variance + mean**2)
        wanted.append(gamma * (sample - mu) / np.sqrt(square - mu**2 + layer.epsilon) + beta)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(x)), wanted, rtol=1e-4, atol=1e-4)


def test_a_training_gives_four_arms():
    made = {
        "arm": "+GBN",
        "seed": 1,
        "test_accuracy": 0.1,
        "accuracies": {"stored": {"0": 0.9, "0.1": 0.91}, "renewed": {"0": 0.92, "0.1": 0.93}},
    }
    found = {each["arm"]: each["test_accuracy"] for each in mismatch.scores(made, {"+GBN": "0.1"})}
    assert found == {
        "+GBN: stored": 0.9,
        "+GBN: stored, weighed": 0.91,
        "+GBN: renewed": 0.92,
        "+GBN: renewed, weighed": 0.93,
    }
    assert set(found) < {arm.name for arm in CRITERIA.arms("mnist1d")}


def test_the_command(tmp_path, digits, monkeypatch):
    only_on("jax")
    monkeypatch.setattr("reproduction.repeated_training.network", small_network)
    monkeypatch.setattr(mismatch, "network", small_network)
    monkeypatch.setattr(arrays, "load", lambda name, **_: digits[0])
    monkeypatch.setattr(
        mismatch.Mismatch, "trainings", lambda self: [mismatch.Trained("+GBN", "large", 8)]
    )
    printed("question", "mismatch", "--quick", "--backend", "jax", "--output", tmp_path)
    content = json.loads((tmp_path / "results.json").read_text())
    assert [each["arm"].partition(": ")[2] for each in content["trainings"]] == [
        "stored",
        "stored, weighed",
        "renewed",
        "renewed, weighed",
    ]
    stored, weighed, *_ = (each["test_accuracy"] for each in content["trainings"])
    assert stored == weighed  # a quick run takes a weight of 0
    CRITERIA.check(content["trainings"], "mnist1d")


def test_tables():
    trainings = [
        {"arm": f"SB: {kind}", "seed": seed, "test_accuracy": score}
        for kind, score in (
            ("stored", 0.9),
            ("stored, weighed", 0.91),
            ("renewed", 0.92),
            ("renewed, weighed", 0.93),
        )
        for seed in (1, 2)
    ]
    content = {"trainings": trainings, "seeds": [1, 2], "chosen": {"SB": "0.1"}}
    row = mismatch_report.scores_table(content).splitlines()[2]
    assert [cell.strip()[:5] for cell in row.strip("|").split("|")] == [
        "SB",
        "90.00",
        "91.00",
        "92.00",
        "93.00",
    ]
    content["sweeps"] = {"SB": {"0": 90.0, "0.1": 91.0}}
    assert "**91.00**" in mismatch_report.weights_table(content)
