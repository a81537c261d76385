"""The remedies of the experiment against oracles in NumPy, and what the criteria make of them."""

import json
import math

import keras
import numpy as np
import pytest

import keras_bigbatch
from reproduction.data import arrays
from reproduction.data.arrays import Data
from reproduction.questions import remedies
from reproduction.remedies import following, views
from reproduction.remedies.arms import Arm, RemedyTraining
from reproduction.remedies.ghost_noise import EPSILON, GhostNoise
from reproduction.remedies.sharpness_aware import SharpnessAwareModel, ascent
from tests.reproduction.helpers import only_on, printed, small_network

CRITERIA = remedies.Remedies("remedies")
ARMS = {arm.name: arm for arm in CRITERIA.arms("mnist1d")}
X = np.random.default_rng(0).normal(size=(12, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 1)).astype("float32")


def gradient(w, x=X, y=Y):
    """Of the mean squared error of `x @ w`."""
    return 2 * x.T.astype("float64") @ (x @ w - y) / len(x)


def after_a_step(model, x=X, y=Y):
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [np.array(w, "float64") for w in model.get_weights()]
    model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    return before, model.get_weights()


@pytest.mark.parametrize("adaptive", [False, True])
def test_sharpness_aware_step_on_a_quadratic(adaptive):
    only_on("jax")
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model = SharpnessAwareModel(plain.inputs[0], plain.outputs[0], 0.3, adaptive)
    (w,), (moved,) = after_a_step(model)
    g = gradient(w)
    step = w**2 * g / np.linalg.norm(abs(w) * g) if adaptive else g / np.linalg.norm(g)
    np.testing.assert_allclose(moved, w - 0.1 * gradient(w + 0.3 * step), rtol=1e-5)


def test_sharpness_aware_step_by_groups_is_the_mean_of_theirs():
    only_on("jax")
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model = SharpnessAwareModel(plain.inputs[0], plain.outputs[0], 0.3, group=4)
    (w,), (moved,) = after_a_step(model)
    steps = []
    for group in (slice(0, 4), slice(4, 8), slice(8, 12)):
        g = gradient(w, X[group], Y[group])
        there = w + 0.3 * g / np.linalg.norm(g)
        steps.append(gradient(there, X[group], Y[group]))
    np.testing.assert_allclose(moved, w - 0.1 * np.mean(steps, axis=0), rtol=1e-5)


def test_batch_norm_moves_in_the_first_pass_alone():
    only_on("jax")
    plain = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.BatchNormalization(momentum=0.5)]
    )
    model = SharpnessAwareModel(plain.inputs[0], plain.outputs[0], 10.0)
    (kernel, bias, *_), (*_, mean, _) = after_a_step(model, X, np.zeros((12, 4), "float32"))
    np.testing.assert_allclose(mean, 0.5 * (X @ kernel + bias).mean(0), rtol=1e-5, atol=1e-6)


def test_ascent_where_the_gradient_is_zero():
    (there,) = ascent([keras.ops.ones(3)], [keras.ops.zeros(3)], 0.5)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(there), np.ones(3))


def test_ghost_noise_is_that_of_drawn_groups():
    x = np.random.default_rng(2).normal(3, 2, size=(6, 5, 2)).astype("float32")
    layer = GhostNoise(4, seed=7)
    drawn = keras.ops.convert_to_numpy(
        keras.random.randint((6, 4), 0, 6, seed=keras.random.SeedGenerator(7))
    )
    got = keras.ops.convert_to_numpy(layer(x, training=True))
    mean, variance = x.mean((0, 1)), x.var((0, 1))
    for sample, group in zip(range(6), drawn, strict=True):
        rows = x[group].astype("float64")
        scale = np.sqrt((variance + EPSILON) / (rows.var((0, 1)) + EPSILON))
        wanted = (x[sample] - rows.mean((0, 1))) * scale + mean
        np.testing.assert_allclose(got[sample], wanted, rtol=2e-4, atol=2e-4)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x)), x)


@pytest.mark.parametrize("shape", [(12, 3), (12, 5, 3)])
def test_the_layer_of_the_package_has_the_noise_of_the_experiment(shape):
    x = np.random.default_rng(2).normal(size=shape).astype("float32")
    measured, public = GhostNoise(4, seed=7), keras_bigbatch.layers.GhostNoise(4, seed=7)
    for _ in range(2):
        outputs = [
            keras.ops.convert_to_numpy(each(x, training=True)) for each in (measured, public)
        ]
        # The experiment's is not about the batch's mean, and loses a digit or two.
        np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-4)


def test_ghost_noise_has_the_mean_and_variance_of_sampling():
    only_on("jax")
    x = np.random.default_rng(3).normal(size=(200, 3)).astype("float32")
    layer = GhostNoise(200, seed=1)
    alike = np.broadcast_to(x[:1], x.shape)
    # All groups are the same, so there is no noise but the rounding of the squares.
    noisy = keras.ops.convert_to_numpy(layer(alike, training=True))
    np.testing.assert_allclose(noisy, alike, atol=1e-4)
    noise = np.concatenate(
        [keras.ops.convert_to_numpy(layer(x, training=True)) - x for _ in range(100)]
    )
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.005)
    # To first order the noise is the mean of 200 draws, and x times a scale that has a quarter of
    # the relative variance of their variance.
    variance, fourth = x.var(0), ((x - x.mean(0)) ** 4).mean(0)
    shift, scale = variance / 200, (fourth / variance**2 - 1) / (4 * 200)
    np.testing.assert_allclose(noise.var(0), shift + scale * variance, rtol=0.08)


def test_views_keep_samples_apart_and_classes():
    x = np.arange(24, dtype="float32").reshape(12, 2, 1) * 100
    batches = views.Views(x, np.arange(12), batch=8, views=4, seed=0)
    assert len(batches) == 6
    seen = [batches[index] for index in range(6)]
    for signals, classes in seen:
        assert signals.shape == (8, 2, 1)
        # Two samples, four times each, one after the other.
        assert list(classes[:2]) * 4 == list(classes)
        assert len({signal.tobytes() for signal in signals}) == 8
    assert sorted(np.concatenate([classes[:2] for _, classes in seen])) == list(range(12))
    with pytest.raises(ValueError, match="no whole samples"):
        views.Views(x, np.arange(12), batch=6, views=4, seed=0)


def test_augmented_signals_are_shifted_and_scaled(monkeypatch):
    monkeypatch.setattr(views, "NOISE", 0.0)
    x = np.array([[[1.0], [2.0], [4.0], [8.0], [16.0]]], "float32")
    signals = views.augmented(np.repeat(x, 200, axis=0), np.random.default_rng(0))[..., 0]
    ratios = set()
    for signal in signals:
        fitting = [
            shift
            for shift in range(-2, 3)
            if np.ptp(signal / x[0, np.clip(np.arange(5) - shift, 0, 4), 0]) < 1e-5
        ]
        assert len(fitting) == 1
        ratios.add(fitting[0])
    assert ratios == {-2, -1, 0, 1, 2}


@pytest.mark.parametrize(("scale", "batches"), [(1e9, [2, 4, 8, 8]), (0.0, [2, 2, 2, 2])])
def test_the_batch_follows_the_noise(monkeypatch, scale, batches):
    class Found:
        value, interval = scale, (scale, scale)

    class Model:
        optimizer = type("Optimizer", (), {})()
        rates = []

        def fit(self, *given, batch_size, **more):
            self.rates.append((batch_size, self.optimizer.learning_rate))

    monkeypatch.setattr(following, "EVERY", 1)
    monkeypatch.setattr(following, "gradient_noise_scale", lambda *_, **__: Found)
    data = Data("made up", 2, "test", X, Y, X, Y)
    model = Model()
    assert following.follow(model, data, (2, 8), 0.4, 1.0, 4, [], 0) == batches
    for epoch, (batch, rate) in enumerate(model.rates):
        np.testing.assert_allclose(rate, 0.4 * (batch / 8) ** 0.5 * following.share(epoch, 4))


def test_the_schedule_by_epochs_warms_up_and_ends_at_zero():
    shares = [following.share(epoch, 100) for epoch in range(101)]
    np.testing.assert_allclose(shares[:5], [0.2, 0.4, 0.6, 0.8, 1.0])
    np.testing.assert_allclose(shares[5], 1.0)
    np.testing.assert_allclose(shares[100], 0.0, atol=1e-12)
    assert shares[5:] == sorted(shares[5:], reverse=True)


def test_every_arm_has_six_tries_or_a_rule():
    assert {len(arm.tries) for arm in ARMS.values()} == {0, 6}
    assert {name for name, arm in ARMS.items() if not arm.tries} == {"LB", "+LR"}
    assert ARMS["LB"].by_rule(0.1) == (0.1, 0.0)
    np.testing.assert_allclose(ARMS["+LR"].by_rule(0.1), (0.5, 0.0))
    assert ARMS["SAM, ghosts"].tries["0.4, 0.2"] == (0.4, 0.2)


def test_a_training_does_not_depend_on_what_was_made_before(digits):
    only_on("jax")
    data, arm = digits[0], Arm("ghost noise", "ghost noise", batch=400, group=8, rates=(0.1,))
    training = RemedyTraining(data, arm, 0.1, 0.0, 2)
    first, again = ([training(seed, []) for seed in seeds] for seeds in ((5, 6), (6, 5)))
    for name in ("train_loss", "test_loss", "updates"):
        assert [each[name] for each in first] == [each[name] for each in reversed(again)]
    assert first[0]["train_loss"] != first[1]["train_loss"]


@pytest.mark.parametrize("name", ["noise", "discard", "stages", "LAMB", "views", "follows", "ASAM"])
def test_every_kind_trains(name, digits, monkeypatch):
    only_on("jax")
    monkeypatch.setattr("reproduction.repeated_training.network", small_network)
    monkeypatch.setattr("reproduction.remedies.arms.SMALL", 100)
    monkeypatch.setattr("reproduction.remedies.views.augmented", lambda x, draw: x)
    data = digits[0]
    strength = {"noise": 24.0, "ASAM": 0.5, "views": 2.0, "follows": 1.0}.get(name, 0.0)
    arm = Arm(name, name, batch=400)
    made = arm.case(data, (0.1, strength), 4).run(3, [])
    epoch, few = math.ceil(data.examples / 400), math.ceil(data.examples / 100)
    updates = {"views": 2 * 2 * epoch, "stages": few + 3 * epoch, "follows": 4 * few}
    assert made["updates"] == updates.get(name, 4 * epoch)
    assert made["samples"] == 4 * data.examples
    assert np.isfinite(made["train_loss"])


def test_the_command(tmp_path, digits, monkeypatch):
    only_on("jax")
    monkeypatch.setattr("reproduction.repeated_training.network", small_network)
    monkeypatch.setattr(arrays, "load", lambda name, **_: digits[0])
    few = [ARMS[name] for name in ("SB", "+LR", "SAM, ghosts")]
    monkeypatch.setattr(remedies.Remedies, "arms", lambda self, data: few)
    monkeypatch.setattr(remedies.Remedies, "_check_hypotheses", lambda self: None)
    monkeypatch.setattr(remedies, "QUICK_EPOCHS", 1)
    words = ("question", "remedies", "--quick", "--backend", "jax", "--output", tmp_path)
    printed(*words)
    assert printed(*words).count("kept from an earlier run") == 3
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["chosen"] == {"SB": "0.025", "SAM, ghosts": "0.2, 0.05"}
    assert [each["arm"] for each in content["trainings"]] == ["SB", "+LR", "SAM, ghosts"]
    assert {each["criteria"] for each in content["trainings"]} == {CRITERIA.digest}


def test_the_best_try_on_held_out_samples_is_taken(tmp_path, digits, monkeypatch):
    monkeypatch.setattr(
        arrays, "load", lambda name, hold_out=0, **_: digits[400 if hold_out else 0]
    )
    few = [ARMS[name] for name in ("SB", "+LR", "ASAM")]
    monkeypatch.setattr(remedies.Remedies, "arms", lambda self, data: few)
    monkeypatch.setattr(remedies.Remedies, "_check_hypotheses", lambda self: None)
    made = []

    class StandIn:
        def __init__(self, data, arm, rate, strength, epochs):
            self.kept = data.split, arm.name, rate, strength

        def __call__(self, seed, progress):
            split, arm, rate, strength = self.kept
            made.append((split, arm, rate, strength, seed))
            good = (rate, strength) in ((0.1, 0.0), (0.8, 0.5))
            scores = dict.fromkeys(("train_loss", "train_accuracy", "test_loss"), 1.0)
            costs = {"updates": 1, "samples": 1, "seconds": 1.0}
            return {**scores, **costs, "test_accuracy": 0.9 if good else 0.8}

    monkeypatch.setattr("reproduction.remedies.arms.RemedyTraining", StandIn)
    printed("question", "remedies", "--seeds", "100", "--output", tmp_path)
    assert made[-3:] == [
        ("test", "SB", 0.1, 0.0, 100),
        ("test", "+LR", 0.1 * 5, 0.0, 100),
        ("test", "ASAM", 0.8, 0.5, 100),
    ]
    held = [each for each in made if each[0] == "held-out"]
    assert len(held) == 2 * 6 * 2
    assert {seed for *_, seed in held} == {0, 1}
