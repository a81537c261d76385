"""The methods side by side: rates, trainings and what is said of them."""

import csv
import json

import keras
import numpy as np
import pytest

from reproduction import collapse, methods, methods_report, report, training
from reproduction.__main__ import main
from reproduction.data import arrays
from tests.reproduction.helpers import PNG, only_on, printed, small_network

METHODS = methods.METHODS


@pytest.fixture(scope="module")
def quick_methods(tmp_path_factory, drawn):
    """One quick run: what it printed, and where it wrote."""
    only_on("torch")  # it compiles nothing
    folder = tmp_path_factory.mktemp("methods")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "mnist1d", lambda: drawn)
        patch.setattr(methods, "network", small_network)
        return printed("methods", "--quick", "--seeds", 3, "--output", folder), folder


def stand_in_for_methods(trained, score=lambda method, rate: 0.5):
    """Takes the place of `train`; notes what it was asked to train."""

    def train(data, method, rate, epochs, seed, progress):
        trained.append((method, rate, len(data.x_train), seed))
        scores = {"train_loss": 0.1, "train_accuracy": 1.0, "test_loss": 0.1}
        cost = {"updates": 2, "samples": 4, "seconds": 1.0}
        return {**cost, **scores, "test_accuracy": score(method, rate)}

    return train


def test_quick_methods_print_rates_table_and_verdict(quick_methods):
    text, _ = quick_methods
    for name in METHODS:
        lines = [line for line in text.splitlines() if line.startswith(f"{name:13}")]
        assert len(lines) == 1, name
        assert text.count(f"seed 3  {name:13}") == 1
    assert text.count(report.QUICK) == 2


def test_quick_methods_write_csv_json_and_picture(quick_methods):
    _, folder = quick_methods
    with (folder / "trainings.csv").open(newline="") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(METHODS)
    updates = {name: int(row["updates"]) for name, row in rows.items()}
    # 1000 samples and 3 epochs: 25 updates each at 40, 1 at 1000.
    assert updates.pop("SB") == 75
    assert updates.pop("stages") == 27
    assert set(updates.values()) == {3}
    assert {row["samples"] for row in rows.values()} == {"3000"}
    assert float(rows["+LR"]["rate"]) == pytest.approx(5 * float(rows["SB"]["rate"]))
    content = json.loads((folder / "results.json").read_text())
    assert content["versions"]["backend"] == keras.backend.backend()
    assert len(content["trainings"]) == len(METHODS)
    assert (folder / "figure.png").read_bytes().startswith(PNG)


def test_methods_differ_from_sgd_in_one_thing():
    plain = METHODS["SGD"]
    for name, method in METHODS.items():
        fields = vars(method).items()
        different = {key for key, value in fields if value != getattr(plain, key)} - {"middle"}
        assert len(different) == (0 if name in ("SGD", "+LR") else 1), name
    assert {len(method.rates) for method in METHODS.values()} == {0, 5}
    assert METHODS["LARS"].rates == [0.0125, 0.025, 0.05, 0.1, 0.2]
    assert METHODS["noise"].gradient_noise == 24


def test_methods_share_clipping_and_the_schedule():
    rate = training.warmed_cosine(0.5, 400)
    values = {update: float(rate(update)) for update in (0, 19, 20, 21, 210, 399)}
    assert values[0] == pytest.approx(0.025)
    assert values[20] == max(values.values()) == pytest.approx(0.5)
    assert values[210] == pytest.approx(0.25, rel=0.01)
    assert values[399] < 1e-4
    for method in METHODS.values():
        optimizer = method.optimizer(rate)
        assert optimizer.global_clipnorm == 5
        assert float(optimizer.learning_rate) == pytest.approx(0.025)


def test_best_rate_of_the_hold_out_is_trained_with_other_seeds(monkeypatch, tmp_path, few_data):
    trained = []

    def score(method, rate):
        return 0.9 if method.rates and rate == method.rates[1] else 0.8

    monkeypatch.setattr(methods, "train", stand_in_for_methods(trained, score))
    main(["methods", "--output", tmp_path])
    held, whole = 800, 1200
    sweep = [(method, rate) for method, rate, samples, _ in trained if samples == held]
    assert len(sweep) == 5 * (len(METHODS) - 1)
    assert {seed for _, _, samples, seed in trained if samples == held} == {0}
    final = [(rate, seed) for _, rate, samples, seed in trained if samples == whole]
    assert len(final) == 3 * len(METHODS)
    expected = [method.rates[1] if method.rates else 5 * 0.05 for method in METHODS.values()]
    np.testing.assert_allclose([rate for rate, _ in final[: len(METHODS)]], expected)
    assert {seed for _, seed in final} == {10, 11, 12}

    trained.clear()
    main(["methods", "--output", tmp_path])
    assert trained == []


def test_ctrl_c_keeps_the_methods_that_are_finished(monkeypatch, tmp_path, capsys, few_data):
    trained = []
    finish = stand_in_for_methods(trained)

    def interrupted(*arguments):
        if len(trained) == 7:
            raise KeyboardInterrupt
        return finish(*arguments)

    flags = ["methods", "--seeds", "4", "--output", str(tmp_path)]
    monkeypatch.setattr(methods, "train", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(flags)
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    monkeypatch.setattr(methods, "train", finish)
    main(flags)
    assert len(trained) == 5 * (len(METHODS) - 1) + len(METHODS)


def method_results(accuracies, train=1.0):
    """Trainings with these test accuracies in percent, by row."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "rate": 0.1,
            "test_accuracy": accuracy / 100,
            "train_accuracy": train,
            "updates": 400,
            "samples": 400_000,
            "seconds": 3.0,
        }
        for arm, column in accuracies.items()
        for seed, accuracy in enumerate(column)
    ]


ROWS = {
    "SB": (96.0, 95.8, 96.2),
    "SGD": (92.0, 92.1, 91.9),
    "+LR": (92.1, 91.9, 92.3),
    "GBN": (95.0, 95.2, 95.1),
    "LARS": (94.0, 94.2, 93.8),
    "noise": (90.0, 89.9, 90.1),
}


def test_methods_table_has_gains_and_marks_the_edge():
    sweeps = {"SGD": {0.1: 92.0, 0.2: 91.0}, "LARS": {0.05: 93.0, 0.1: 94.0, 0.2: 93.0}}
    summary = methods_report.summarise(method_results(ROWS), sweeps, 10_000)
    text = methods_report.table(summary, "a title")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if "---" not in line}
    assert text.startswith("a title\n")
    assert rows["SGD"][1:5] == ["0.1*", "92.00", "±", "0.10"]  # the smaller of two rates
    assert rows["LARS"][1] == "0.1"
    assert rows["LARS"][5:] == ["+2.00", "100.00", "400", "400,000", "3.0"]
    assert rows["+LR"][5] == "(+0.10)"
    assert "edge" in text
    assert report.QUICK in methods_report.table(summary, "a title", quick=True)


def test_methods_verdict_says_what_the_numbers_say():
    sentence = methods_report.verdict(method_results(ROWS), 10_000)
    assert sentence == (
        "Over SGD at its best rate for the large batch, GBN gains 3.1 and LARS 2.0 points (the "
        "small batch: 4.0); +LR makes no clear difference; noise loses 2.0."
    )
    nothing = dict.fromkeys(ROWS, ROWS["SGD"])
    assert methods_report.verdict(method_results(nothing), 10_000) == (
        "Over SGD at its best rate for the large batch, nothing gains (the small batch: no clear "
        "gap, +0.0); +LR, GBN, LARS and noise make no clear difference."
    )
    poor = methods_report.verdict(method_results(ROWS, 0.9), 10_000)
    assert "every seed: SB 90.0 %, SGD 90.0 %, +LR" in poor
    single = {name: accuracies[:1] for name, accuracies in ROWS.items()}
    assert methods_report.verdict(method_results(single), 10_000).endswith("no spread.")


def test_rates_line_names_the_best_and_of_equals_the_smallest():
    assert methods_report.best({0.1: 90.0, 0.2: 92.0, 0.4: 92.0}) == 0.2
    line = methods_report.sweep_line("LARS", {0.1: 90.0, 0.2: 92.0})
    assert line.split() == ["LARS", "0.1", "90.00", "0.2", "92.00", "best", "0.2"]


def test_collapse_prints_table_and_warning(monkeypatch, tmp_path, capsys, few_data):
    flags = ["methods", "--collapse", "--quick", "--seeds", "3", "--output", str(tmp_path)]
    monkeypatch.setattr(collapse, "BATCH", 300)
    monkeypatch.setattr(collapse, "network", small_network)
    if keras.backend.backend() != "torch":  # which compiles nothing: the arms that differ below
        arms = {name: collapse.ARMS[name] for name in ("neither", "weight decay 1e-4")}
        monkeypatch.setattr(collapse, "ARMS", arms)
    main(flags)
    printed = capsys.readouterr().out
    assert "4 updates" in printed
    assert "8 updates" in printed
    assert "long trainings collapse" in printed
    content = json.loads((tmp_path / "collapse" / "results.json").read_text())
    looks = {
        (training["arm"], look["updates"]): look
        for training in content["trainings"]
        for look in training["looks"]
    }
    assert len(looks) == 2 * len(collapse.ARMS)
    assert looks["neither", 8]["kernel_norm"] > looks["neither", 4]["kernel_norm"]
    assert looks["weight decay 1e-4", 8]["kernel_norm"] < looks["neither", 8]["kernel_norm"]
    main(flags)
    assert capsys.readouterr().out.count("kept from an earlier run") == len(collapse.ARMS)
