"""The demo: as a reader runs it, and its five arms."""

import csv
import json

import keras
import numpy as np
import pytest

from reproduction import demo, report, runs, training
from reproduction.__main__ import main
from reproduction.data import arrays
from reproduction.networks.small import network
from reproduction.recipes.demo import small_batch_regime
from tests.reproduction.helpers import PNG, only_on, run, small_network

ARMS = ["SB", "LB", "+LR", "+GBN", "+RA"]


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One quick run in a process: what it printed, and where it wrote."""
    only_on("jax")  # as `make demo` does
    folder = tmp_path_factory.mktemp("quick")
    return run(*flags(folder), "--backend", "jax"), folder


def flags(folder, *more):
    common = ["--quick", "--dataset", "digits", "--seeds", 3, "--output", folder]
    return ["demo", *common, *more]


def stand_in(trained):
    """Takes the place of `train`; notes what it was asked to train."""

    def train(data, arm, seed, progress):
        trained.append(arm)
        scores = {
            f"{part}_{key}": 0.5 for part in ("train", "test") for key in ("loss", "accuracy")
        }
        distance = {"update": [1, 2], "distance": [0.1, 0.2]}
        return {"updates": 2, "samples": 4, "seconds": 1.0, **scores, "weight_distance": distance}

    return train


def test_quick_run_prints_plans_table_and_verdict(quick):
    printed, _ = quick
    assert "updates per epoch" in printed
    assert printed.count("seed 3  ") == 5
    lines = printed.splitlines()
    assert [line.partition(" ")[0] for line in lines if line.partition(" ")[0] in ARMS] == ARMS
    assert max(map(len, lines)) <= 80
    assert printed.count(report.QUICK) == 2  # above the table, and as the verdict


def test_quick_run_writes_csv_json_and_picture(quick):
    _, folder = quick
    with (folder / "trainings.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["arm"] for row in rows] == ARMS
    # 1200 samples: 60 updates an epoch at 20, 4 at 300; 4 epochs, 12 with a stretch of 3.
    assert [int(row["updates"]) for row in rows] == [240, 16, 16, 16, 48]
    assert [int(row["samples"]) for row in rows] == [4800, 4800, 4800, 4800, 14400]
    assert all(0.2 < float(row["test_accuracy"]) <= 1 for row in rows)

    content = json.loads((folder / "results.json").read_text())
    assert content["verdict"] == report.QUICK
    assert content["settings"]["quick"] is True
    assert content["seeds"] == [3]
    assert content["versions"]["backend"] == keras.backend.backend()
    assert content["versions"]["keras"] == keras.__version__
    assert content["hardware"]["cores"] >= 1
    assert content["hardware"]["cpu"]
    source = runs._sha256((runs.HERE / "demo.py").read_bytes())
    assert content["sources"]["demo.py"] == source
    assert content["summary"]["SB"]["test_deviation"] is None
    for each in content["trainings"]:
        assert each["weight_distance"]["update"][-1] == each["updates"]
        assert each["weight_distance"]["distance"][-1] > 0

    assert (folder / "figure.png").read_bytes().startswith(PNG)
    assert not list(folder.rglob(".*"))  # nothing half-written


def test_the_whole_method_runs_on_every_backend(monkeypatch, tmp_path, capsys):
    """The last arm has all its parts; the others are made whole on JAX, above."""
    whole, others_trained = training.train, []
    others = stand_in(others_trained)

    def train(*arguments):
        return (whole if len(others_trained) == 4 else others)(*arguments)

    monkeypatch.setattr(training, "train", train)
    sizes = ["--examples", 60, "--small-batch", 20, "--large-batch", 60, "--stretch", 1]
    main(flags(tmp_path, *sizes))
    assert report.QUICK in capsys.readouterr().out
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["versions"]["backend"] == keras.backend.backend()
    last = content["trainings"][-1]
    assert last["updates"] == last["weight_distance"]["update"][-1] == 4
    assert np.isfinite(last["train_loss"])
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)


def test_second_run_trains_nothing_and_reports_the_same(quick, monkeypatch, capsys):
    _, folder = quick
    before = json.loads((folder / "results.json").read_text())
    trained = []
    monkeypatch.setattr(training, "train", stand_in(trained))
    main(flags(folder, "--backend", "jax"))
    assert trained == []
    assert capsys.readouterr().out.count("kept from an earlier run") == 5
    assert json.loads((folder / "results.json").read_text()) == before


def test_another_setting_trains_the_arms_that_it_touches(monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(training, "train", stand_in(trained))
    main(flags(tmp_path))
    assert len(trained) == 5
    trained.clear()
    main(flags(tmp_path, "--virtual-batch", "25"))
    assert [arm.norm.args for arm in trained] == [(25,), (25,)]  # +GBN and +RA
    trained.clear()
    main(flags(tmp_path, "--stretch", "2"))
    assert [arm.plan.epochs for arm in trained] == [8]  # +RA
    trained.clear()
    main(flags(tmp_path, "--hold-out", "100"))
    assert len(trained) == 5


def test_ctrl_c_keeps_what_is_finished(monkeypatch, tmp_path, capsys):
    trained = []
    finish = stand_in(trained)

    def interrupted(*arguments):
        if len(trained) == 2:
            raise KeyboardInterrupt
        return finish(*arguments)

    monkeypatch.setattr(training, "train", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(flags(tmp_path))
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    assert len(list((tmp_path / "runs").iterdir())) == 2

    monkeypatch.setattr(training, "train", finish)
    main(flags(tmp_path))
    assert len(trained) == 5  # 2 before, 3 after


@pytest.mark.parametrize(
    "arguments",
    [["--seeds", "-1"], ["--epochs", "3"], ["--stretch", "nan"], ["--backend", "mxnet"]],
)
def test_bad_options_are_refused(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(["demo", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--hold-out", "--large-batch"])
def test_sizes_that_the_data_cannot_give_are_refused(tmp_path, flag):
    with pytest.raises(SystemExit, match="1201"):
        main(flags(tmp_path, flag, "1201"))


@pytest.fixture
def arms():
    regime = small_batch_regime(40, 150, 4000, 0.05)
    return demo.five_arms(regime, 1000, virtual_batch=8, stretch=3)


def test_arms_add_one_part_each(arms):
    assert list(arms) == ARMS
    plans = {name: arm.plan for name, arm in arms.items()}
    assert [plan.batch for plan in plans.values()] == [40, 1000, 1000, 1000, 1000]
    assert [plan.updates for plan in plans.values()] == [15000, 600, 600, 600, 1800]
    rates = [float(plan.learning_rate(0)) for plan in plans.values()]
    np.testing.assert_allclose(rates, [0.05, 0.05, 0.25, 0.25, 0.25], rtol=1e-6)
    assert [update for update, _, _ in plans["SB"].drops] == [0, 7500, 11200]
    assert [update for update, _, _ in plans["+RA"].drops] == [0, 900, 1344]
    # The update of the drop has the new rate already, in all arms.
    last, first = plans["+RA"].learning_rate(899), plans["+RA"].learning_rate(900)
    np.testing.assert_allclose([float(last), float(first)], [0.25, 0.025], rtol=1e-6)
    kinds = [type(arm.norm()).__name__ for arm in arms.values()]
    assert kinds == ["BatchNormalization"] * 3 + ["GhostBatchNormalization"] * 2
    assert arms["+GBN"].norm().virtual_batch == 8
    assert len({arm.norm().momentum for arm in arms.values()}) == 1


def test_arms_of_a_seed_start_from_the_same_weights(arms):
    def weights(arm, seed):
        keras.utils.set_random_seed(seed)
        return network((40, 1), 10, arm.norm).get_weights()

    first, *others = [weights(arm, 5) for arm in arms.values()]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], weights(arms["SB"], 6)[0])


def test_a_seed_gives_the_same_training_again(arms):
    data = arrays.load("digits", examples=1200)
    regime = small_batch_regime(200, 4, 1200, 0.05)
    arm = demo.five_arms(regime, 400, virtual_batch=50, stretch=1)["+GBN"]
    silent = keras.callbacks.Callback()
    first, second = (training.train(data, arm, 1, silent, small_network) for _ in range(2))
    assert first["updates"] == arm.plan.updates == 12
    assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-4)
    distances = (run["weight_distance"]["distance"] for run in (first, second))
    np.testing.assert_allclose(*distances, rtol=1e-4)


def test_network_takes_signals_and_images():
    norm = keras.layers.BatchNormalization
    signals = network((40, 1), 10, norm)
    assert sum(int(np.prod(w.shape)) for w in signals.trainable_variables) == 8106
    assert network((28, 28, 3), 7, norm).output_shape == (None, 7)
