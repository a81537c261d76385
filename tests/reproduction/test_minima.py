"""The minima compared: what is measured, and what is said of it."""

import csv
import json

import keras
import numpy as np
import pytest

from reproduction import minima, minima_measures, minima_report, plotting, report, training
from reproduction.__main__ import main
from reproduction.data import arrays
from reproduction.networks.small import network
from tests.reproduction.helpers import PNG, only_on, printed, small_network


@pytest.fixture(scope="module")
def quick_minima(tmp_path_factory, drawn):
    """One quick run: what it printed, and where it wrote."""
    only_on("torch")  # it compiles nothing
    folder = tmp_path_factory.mktemp("minima")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "mnist1d", lambda: drawn)
        patch.setattr(training.train, "__defaults__", (small_network, training.sgd))
        patch.setattr(minima_measures, "network", small_network)
        return printed("minima", "--quick", "--seeds", 3, "--output", folder), folder


def minimum(accuracy=0.96, sharpness=1.0, eigenvalue=2.0, **more):
    """The result of a training, with every measure."""
    return {
        **dict.fromkeys(minima_report.ROWS, 0.5),
        "batch": 40,
        "updates": 2,
        "seconds": 1.0,
        "measuring_seconds": 1.0,
        "train_accuracy": 1.0,
        "test_accuracy": accuracy,
        "sharpness": sharpness,
        "top_eigenvalue": eigenvalue,
        "searches": 5,
        "searches_agreed": 4,
        **more,
    }


def trainings(**arms):
    """Trainings by arm: a list of accuracies in percent, the sharpness, the top eigenvalue."""
    return [
        {"arm": arm, "seed": seed, **minimum(accuracy / 100, sharpness, eigenvalue)}
        for arm, (accuracies, sharpness, eigenvalue) in arms.items()
        for seed, accuracy in enumerate(accuracies)
    ]


PATH = {
    "alphas": [-0.5, 0.0, 0.5, 1.0, 1.5],
    "interpolated": [9.0, 0.25, 2.0, 0.5, 30.0],
    "estimated": [9.0, 0.25, 0.4, 0.5, 3.0],
}


def test_quick_minima_print_a_line_a_training_and_a_narrow_table(quick_minima):
    text, _ = quick_minima
    for name in minima.QUICK_ARMS:
        assert text.count(f"seed 3  {name:4}") == 1
    for label in ("test accuracy, %", "sharpness 1e-3, %", "top eigenvalue", "noise scale"):
        assert sum(line.startswith(label) for line in text.splitlines()) == 1, label
    assert text.count(report.QUICK) == 2
    assert max(map(len, text.partition("Picture")[0].splitlines())) <= 80


def test_quick_minima_write_csv_json_and_picture(quick_minima):
    _, folder = quick_minima
    with (folder / "trainings.csv").open(newline="") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    # 1000 samples and 4 epochs: 25 updates each at 40, 1 at 1000.
    assert {arm: int(row["updates"]) for arm, row in rows.items()} == {"SB": 100, "LB": 4}
    assert all(float(row["top_eigenvalue"]) > 0 for row in rows.values())
    assert float(rows["SB"]["sharpness"]) > float(rows["SB"]["sharpness_smaller_box"]) > 0
    content = json.loads((folder / "results.json").read_text())
    assert content["versions"]["backend"] == keras.backend.backend()
    assert all("weights" not in training for training in content["trainings"])
    # The ends of the path are where the trainings ended.
    path = content["paths"]["3"]
    ends = [path["interpolated"][path["alphas"].index(alpha)] for alpha in (0, 1)]
    losses = [training["train_loss"] for training in content["trainings"]]
    np.testing.assert_allclose(ends, losses, rtol=1e-4)
    assert (folder / "figure.png").read_bytes().startswith(PNG)


def test_minima_are_kept_after_ctrl_c(monkeypatch, tmp_path, capsys, few_data):
    trained = []

    def finish(data, arm, effort, seed, progress):
        trained.append((arm.plan.batch, seed))
        return {**minimum(), "weights": [[float(arm.plan.batch)]]}

    def interrupted(*arguments):
        if len(trained) == 5:
            raise KeyboardInterrupt
        return finish(*arguments)

    ends = []

    def between(first, second, data, effort):
        ends.append((float(first[0][0]), float(second[0][0])))
        return PATH

    monkeypatch.setattr(minima_measures, "between", between)
    monkeypatch.setattr(minima, "train_and_measure", interrupted)
    flags = ["minima", "--seeds", "4", "5", "--output", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    monkeypatch.setattr(minima, "train_and_measure", finish)
    main(flags)
    assert trained == [(batch, seed) for seed in (4, 5) for batch in (40, 1000, 1000, 1000)]
    assert ends == [(40, 1000)] * 2
    assert capsys.readouterr().out.count("kept from an earlier run") == 5


def test_arms_are_measured_as_one_function():
    data = arrays.load("digits", examples=40)
    ghost = network(data.shape, data.classes, training.ghost_norm(8))
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.1, 1, weight.shape) for weight in ghost.get_weights()]
    ghost.set_weights(weights)
    plain = minima_measures.plain_network(data)
    plain.set_weights(weights)
    outputs = [np.asarray(model.predict(data.x_train, verbose=0)) for model in (ghost, plain)]
    np.testing.assert_allclose(*outputs, rtol=1e-4)


def test_barrier_is_above_the_higher_end_and_between_the_ends():
    assert minima_measures.barrier(PATH, "interpolated") == 1.5
    assert minima_measures.barrier(PATH, "estimated") == 0


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((35.38, 2.04), "35.4±2.0"),
        ((813.7, 51.2), "814±51"),
        ((0.369, 0.031), "0.369±0.031"),
        ((0.00394, 0.00061), "(3.9±0.6)e-3"),
        ((0.00394, None), "3.9e-3"),
        ((0.0239, 0.0021), "(2.4±0.2)e-2"),
        ((95.8512, 0.181, 2), "95.85±0.18"),
        ((1072.4, None), "1072"),
        ((0.0, 0.0), "0.00±0.00"),
        ((None, None), "unknown"),
    ],
)
def test_cells_of_minima(numbers, text):
    assert minima_report.cell(*numbers) == text


def test_minima_table_has_unknown_noise_scales_and_fits_a_page():
    results = trainings(SB=([96.0, 96.2], 0.0243, 0.0722), LB=([92.0, 91.0], 35.4, 118.0))
    results[2]["noise_scale"] = float("nan")
    summary = minima_report.summarise(results)
    text = minima_report.table(summary, {0: PATH, 1: PATH}, results, ["a title"])
    rows = {line[:21].strip(): line[21:].split() for line in text.splitlines()}
    assert rows["test accuracy, %"] == ["96.10±0.14", "91.50±0.71"]
    assert rows["noise scale, samples"] == ["0.500±0.000", "unknown"]
    assert "starts agreed in 16 of 20 searches" in text
    assert "interpolated statistics: 1.50±0.00" in text
    assert json.loads(json.dumps(summary))["LB"]["noise_scale"] == {"mean": None, "deviation": None}


def test_minima_verdict_says_what_the_numbers_say():
    sb, lb, lr = ([96.0, 96.1, 95.9], 1.0, 2.0), ([92.0, 92.1, 91.9], 400.0, 60.0), 92.1
    against = trainings(**{"SB": sb, "LB": lb, "+LR": ([lr, lr, lr - 0.1], 4.0, 6.0)})
    assert minima_report.verdict(against, 10_000) == (
        "Compared with SB, LB is 4.0 points worse, 400 times as sharp and 30 times as curved, +LR "
        "is 3.9 points worse, 4 times as sharp and 3 times as curved; flatter is not always "
        "better here: +LR is flatter than LB and not clearly different in accuracy (+0.1)."
    )
    together = trainings(SB=sb, LB=lb)
    sentence = minima_report.verdict(together, 10_000)
    assert sentence.endswith("the flatter arm is the better one in all 1 pairs that differ.")
    apart = trainings(SB=sb, LB=(lb[0], 400.0, 1.0))  # sharper in one measure, flatter in the other
    assert "no arm is flatter than another" in minima_report.verdict(apart, 10_000)
    for each in together:
        each["train_accuracy"] = 0.9
    assert "fits the training set: SB: 90.0 %; LB: 90.0 %" in minima_report.verdict(
        together, 10_000
    )
    assert minima_report.verdict(together[::3], 10_000).endswith("one seed shows no spread.")


def test_minima_picture_is_written_for_several_seeds_and_for_one(tmp_path):
    for count in (1, 3):
        path = tmp_path / f"{count}.png"
        results = trainings(SB=([96.0] * count, 0.1, 2.0), LB=([92.0] * count, 10.0, 20.0))
        with plotting.written(path, "a title") as picture:
            minima_report.draw(picture, results, dict.fromkeys(range(count), PATH), "10 samples")
        assert path.read_bytes().startswith(PNG)
