"""The command that makes tables and figures anew: as a reader calls it, and its parts."""

import json

import keras
import numpy as np
import pytest

from reproduction import cost, experiments, report, settings, tables
from reproduction.__main__ import main, parse
from reproduction.recipes.rows import ARMS
from tests.reproduction.helpers import PNG, small_network

BACKEND = keras.backend.backend()
TABLES = experiments.table_rows()
QUICK_SAMPLES = 8  # to train on and to score on, together; the mock gives the same to both
DIGITS = ["table1", "demo", "--dataset", "digits"]


def test_quick_run_writes_report_picture_csv_and_json(tmp_path, capsys):
    if BACKEND != "torch":
        pytest.skip("whole rows are made on torch, which compiles nothing; elsewhere an arm, below")
    main([*DIGITS, "--quick", "--seeds", 3, "--output", tmp_path])
    printed = capsys.readouterr().out
    for arm in ARMS:
        assert printed.count(f"seed 3  {arm:4}  ") == 1
    text = (tmp_path / "report.md").read_text()
    assert text in printed
    assert report.QUICK in text
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["experiment"] == "table1-demo"
    assert content["versions"]["backend"] == BACKEND
    assert [training["arm"] for training in content["trainings"]] == list(ARMS)
    # 4 samples, 4 epochs: batches of 2 and 4, and +RA for twice the epochs.
    assert [training["updates"] for training in content["trainings"]] == [8, 4, 4, 4, 8]
    assert len((tmp_path / "trainings.csv").read_text().splitlines()) == 6
    (kept, *_) = (tmp_path / "runs").glob("SB-seed3-*.json")
    assert {"settings", "sources", "versions", "hardware", "recipe", "result"} == set(
        json.loads(kept.read_text())
    )


@pytest.mark.usefixtures("stand_in")
def test_torchrun_s_other_processes_neither_write_nor_wait_for_files(monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "1")
    main([*DIGITS, "--scale", 1, 0.1, "--output", tmp_path])
    assert list(tmp_path.iterdir()) == []


def test_stopped_and_started_again_gives_the_same_report(tmp_path, capsys, stand_in):
    command = [*DIGITS, "--scale", 1, 0.1, "--seeds", 4, 5, "--output", tmp_path]
    main(command)
    files = ("report.md", "results.json", "trainings.csv")
    expected = [(tmp_path / name).read_text() for name in files]
    in_one_go, stand_in.trainings[:] = list(stand_in.trainings), []
    for path in [*tmp_path.glob("*.*"), *(tmp_path / "runs").iterdir()]:
        path.unlink()

    stand_in.stop = 7
    with pytest.raises(SystemExit) as stop:
        main(command)
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    assert not (tmp_path / "report.md").exists()
    stand_in.stop = None
    main(command)
    assert stand_in.trainings == in_one_go
    assert len(in_one_go) == 10
    assert [(tmp_path / name).read_text() for name in files] == expected
    assert capsys.readouterr().out.count("kept from an earlier run") == 7


@pytest.mark.usefixtures("stand_in")
def test_report_is_made_from_the_json_alone(tmp_path, capsys):
    f1 = ["table1", "F1", "--dataset", "digits", "--batch-sizes", 60, 600]
    main([*f1, "--output", tmp_path])
    text = (tmp_path / "report.md").read_text()
    for path in tmp_path.iterdir():
        if path.is_file() and path.name != "results.json":
            path.unlink()
    capsys.readouterr()
    main(["report", tmp_path])
    assert (tmp_path / "report.md").read_text() == text
    assert text in capsys.readouterr().out
    assert (tmp_path / "figure.png").exists()
    # The stand-in gives the same to all large arms, and the paper's numbers stand below.
    assert "| accuracy here, %" in text
    assert "98.27" in text
    assert "a recipe for mnist" in text
    command = "python -m reproduction table1 F1 --dataset digits --batch-sizes 60 600\n"
    assert command in text.replace(" \\\n    ", " ")
    assert max(map(len, text.partition("```sh")[2].splitlines())) <= 80


@pytest.mark.usefixtures("stand_in")
def test_a_share_is_in_the_report(tmp_path):
    share = ["--scale", 0.5, 0.1, "--batch-sizes", 40, 600]
    main([*DIGITS, *share, "--output", tmp_path])
    text = (tmp_path / "report.md").read_text()
    assert "600 training samples, 50.00% of the data and 10.00% of the epochs" in text
    trainings = json.loads((tmp_path / "results.json").read_text())["trainings"]
    assert trainings[0]["updates"] == 15 * 600 // 40


def test_mixed_precision_is_trained_in_and_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(tables, "ARMS", ("+RA",))
    used = []

    def network(*arguments):
        model = small_network(*arguments)
        used.append(model.layers[0].compute_dtype)
        return model

    monkeypatch.setattr(settings, "decayed", lambda *_: network)
    try:
        flags = ["--quick", "--mixed-precision", "bfloat16", "--output", tmp_path]
        main([*DIGITS, *flags])
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert used == ["bfloat16"]
    content = json.loads((tmp_path / "results.json").read_text())
    assert np.isfinite(content["trainings"][0]["train_loss"])
    assert content["notes"].endswith(", bfloat16")


@pytest.mark.usefixtures("stand_in")
def test_variants_of_a_row_are_told_apart(tmp_path, capsys):
    command = ["table1", "F1", "--dataset", "digits", "--batch-sizes", 60, 600]
    for variant in ("paper", "bigbatch"):
        main([*command, "--variant", variant, "--output", tmp_path])
    # In the same folder: a training of one must not be taken for the other's.
    assert "kept from an earlier run" not in capsys.readouterr().out
    assert "the recipe of bigbatch's code" in (tmp_path / "report.md").read_text()


def test_what_is_our_choice_in_a_row_is_in_the_report():
    tfds = pytest.importorskip("tensorflow_datasets")
    with tfds.testing.mock_data(num_examples=QUICK_SAMPLES):
        _, setting = settings.setting_of(TABLES[1]["VGG"], parse(["table1", "VGG", "--quick"]))
    assert setting.notes.endswith("both are our choice")


@pytest.mark.filterwarnings("ignore:Limiting epochs to 1:UserWarning")
@pytest.mark.parametrize("name", [*TABLES[1], "AlexNet"])
def test_every_row_of_the_tables_starts(monkeypatch, tmp_path, request, name):
    if BACKEND != "torch":
        pytest.skip("JAX and TensorFlow would compile each of the large networks")
    tfds = pytest.importorskip("tensorflow_datasets")
    arms = ARMS if name == "demo" else ("+RA",)
    if name not in ("demo", "F1"):  # an update takes seconds here, so one is enough
        keras.config.set_max_epochs(1)
        request.addfinalizer(lambda: keras.config.set_max_epochs(None))
    monkeypatch.setattr(tables, "ARMS", arms)
    what = ["table2"] if name == "AlexNet" else ["table1", name]
    if name == "demo":
        what += ["--dataset", "digits"]
    with tfds.testing.mock_data(num_examples=QUICK_SAMPLES):
        main([*what, "--quick", "--output", tmp_path])
    trainings = json.loads((tmp_path / "results.json").read_text())["trainings"]
    assert [training["arm"] for training in trainings] == list(arms)
    assert all(np.isfinite(training["train_loss"]) for training in trainings)


@pytest.mark.parametrize("name", experiments.figures())
def test_every_figure_starts(tmp_path, name):
    if BACKEND != "torch":
        pytest.skip("whole figures are made on torch, which compiles nothing")
    command = ["figure", name, "--dataset", "digits", "--quick"]
    main([*command, "--seeds", 3, "--output", tmp_path])
    assert report.QUICK in (tmp_path / "report.md").read_text()
    assert (tmp_path / "figure.png").read_bytes().startswith(PNG)
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["experiment"] == name
    arms = [training["arm"] for training in content["trainings"]]
    assert len(set(arms)) == len(arms) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "F2"], "table1 'F2' is none of F1, C1, ResNet44, VGG, C3, WRN16-4, demo"),
        (["figure", "nothing"], "figure 'nothing' is none of"),
        ([*DIGITS, "--scale", "1", "1", "1"], "one or two shares, not 3"),
        ([*DIGITS, "--batch-sizes", "8"], "are two, not 1"),
        (["table1", "demo", "--dataset", "flowers"], "'flowers' is unknown"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments, message):
    with pytest.raises(SystemExit, match=message):
        main(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["table1"],
        ["table1", "F1", "figure", "hoffer-1"],
        ["figure", "hoffer-1", "--estimate"],
        ["table1", "F1", "--scale", "1.5"],
        ["table1", "F1", "--scale", "0"],
        ["table1", "F1", "--distribute", "everywhere"],
    ],
)
def test_wrong_command_lines_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "error" in capsys.readouterr().err


def test_estimate_is_what_the_networks_and_the_plans_say(capsys):
    main(["table1", "F1", "--estimate"])
    words = capsys.readouterr().out.split()
    forward = 784 * 512 + 4 * 512 * 512 + 512 * 10
    assert float(words[1]) == pytest.approx(6 * forward / 1e9, rel=0.01)
    # SB, LB, +LR and +GBN for 50 epochs, +RA in epochs of 15 updates for SB's 50 x 469 updates.
    epochs = 4 * 50 + round(50 * 469 / 15)
    assert f"process {epochs * 60_000 / 1e6:.0f} million samples" in " ".join(words)


def test_multiply_adds_of_convolutions():
    layers = [keras.layers.Conv2D(8, 3, strides=2), keras.layers.Flatten(), keras.layers.Dense(5)]
    model = keras.Sequential([keras.Input((9, 9, 2)), *layers])
    assert cost.multiply_adds(model) == 4 * 4 * (3 * 3 * 2 * 8) + 4 * 4 * 8 * 5


def test_list_names_everything(capsys):
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    names = list(experiments.everything())
    assert len(lines) == len(names)
    for line, name in zip(lines, names, strict=True):
        words = line.partition("  ")[0]
        assert words.replace(" ", "-").removeprefix("figure-") == name
        experiment = experiments.experiment_of(parse(words.split()))
        assert experiment.name == name


def test_command_line_overrides_the_row():
    chosen = ["--batch-sizes", 30, 300, "--learning-rate", 0.02, "--virtual-batch", 10]
    row, setting = settings._row_and_setting(
        TABLES[1]["demo"].row,
        parse(list(map(str, [*DIGITS, *chosen, "--stretch", 2]))),
    )
    assert (setting.regime.batch, setting.large_batch, setting.virtual_batch) == (30, 300, 10)
    np.testing.assert_allclose(list(setting.regime.learning_rate.values()), [0.02, 0.002, 0.0002])
    assert row.plan("+RA", 1200).epochs == 300
    assert row.plan("LB", 1200).updates == 150 * 4


def test_weight_decay_is_in_the_gradient():
    def network(shape, classes, norm):
        return keras.Sequential([keras.Input(shape), keras.layers.Dense(classes)])

    keras.utils.set_random_seed(0)
    model = settings.decayed(network, 0.5)((3,), 2, None)
    model.layers[0].bias.assign([1.0, -2.0])
    before = [np.array(weight) for weight in model.get_weights()]
    model.compile(keras.optimizers.SGD(0.1), loss=lambda y, outputs: 0.0 * outputs)
    model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    # No gradient but the decay's: w - rate * decay * w.
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old * (1 - 0.1 * 0.5), rtol=1e-5)
    assert settings.decayed(network, 0.0) is network
