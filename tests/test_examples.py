"""The examples: each is run as a reader runs it, and their helpers are tested on their own."""

import csv
import gzip
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent.parent / "examples"))

import _collapse
import _data
import _figure
import _methods_report
import _minima_figure
import _minima_measures
import _minima_report
import _report
import _runs
import closing_the_gap
import compare_minima
import large_batch_methods

EXAMPLES = Path(_data.__file__).parent
ARMS = ["SB", "LB", "+LR", "+GBN", "+RA"]


def run(*arguments, **environment):
    """Runs an example in a process of its own."""
    path = os.pathsep.join([str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")])
    base = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    base.pop("KERAS_BACKEND", None)
    return subprocess.run(
        [sys.executable, EXAMPLES / arguments[0], *arguments[1:]],
        env={**base, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    ).stdout


def test_every_example_is_tested_here():
    examples = {path.name for path in EXAMPLES.glob("*.py") if not path.name.startswith("_")}
    assert examples == {
        "closing_the_gap.py",
        "compare_minima.py",
        "large_batch_methods.py",
        "quickstart.py",
        "reproduce.py",  # tests/papers
    }


def test_quickstart():
    backend = keras.backend.backend()
    printed = run("quickstart.py", KERAS_BACKEND=backend, KERAS_MAX_EPOCHS="2")
    assert "large batch" in printed
    assert "weight_distance: " in printed
    assert float(printed.rpartition("Test accuracy:")[2]) > 0.2  # chance is 0.1


# --- closing_the_gap.py, as a whole


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """One quick run in a process: what it printed, and where it wrote."""
    folder = tmp_path_factory.mktemp("quick")
    printed = run("closing_the_gap.py", "--backend", keras.backend.backend(), *flags(folder))
    return printed, folder


def flags(folder, *more):
    return ["--quick", "--dataset", "digits", "--seeds", "3", "--output", str(folder), *more]


def call(monkeypatch, *arguments):
    """Runs `main` in this process."""
    monkeypatch.setattr(sys, "argv", ["closing_the_gap.py", *arguments])
    closing_the_gap.main()


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
    heading = next(line.split() for line in printed.splitlines() if line.split() == ARMS)
    assert heading == ARMS
    assert printed.count(_report.QUICK) == 2  # above the table, and as the verdict


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
    assert content["verdict"] == _report.QUICK
    assert content["settings"]["quick"] is True
    assert content["seeds"] == [3]
    assert content["versions"]["backend"] == keras.backend.backend()
    assert content["versions"]["keras"] == keras.__version__
    assert content["hardware"]["cores"] >= 1
    assert content["hardware"]["cpu"]
    source = _runs._sha256((EXAMPLES / "closing_the_gap.py").read_bytes())
    assert content["sources"]["closing_the_gap.py"] == source
    assert content["summary"]["SB"]["test_deviation"] is None
    for training in content["trainings"]:
        assert training["weight_distance"]["update"][-1] == training["updates"]
        assert training["weight_distance"]["distance"][-1] > 0

    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.rglob(".*"))  # nothing half-written


def test_second_run_trains_nothing_and_reports_the_same(quick, monkeypatch, capsys):
    _, folder = quick
    before = json.loads((folder / "results.json").read_text())
    trained = []
    monkeypatch.setattr(closing_the_gap, "train", stand_in(trained))
    call(monkeypatch, *flags(folder))
    assert trained == []
    assert capsys.readouterr().out.count("kept from an earlier run") == 5
    assert json.loads((folder / "results.json").read_text()) == before


def test_another_setting_trains_the_arms_that_it_touches(monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(closing_the_gap, "train", stand_in(trained))
    call(monkeypatch, *flags(tmp_path))
    assert len(trained) == 5
    trained.clear()
    call(monkeypatch, *flags(tmp_path, "--virtual-batch", "25"))
    assert [arm.norm.args for arm in trained] == [(25,), (25,)]  # +GBN and +RA
    trained.clear()
    call(monkeypatch, *flags(tmp_path, "--stretch", "2"))
    assert [arm.plan.epochs for arm in trained] == [8]  # +RA
    trained.clear()
    call(monkeypatch, *flags(tmp_path, "--hold-out", "100"))
    assert len(trained) == 5


def test_another_source_or_version_is_another_experiment(tmp_path, monkeypatch):
    folder, recipe = tmp_path / "runs", {"batch": 4}
    _runs.Runs(folder, {"data": "digits"}, ["_data.py"]).keep("SB", 1, recipe, {"updates": 3})
    assert _runs.Runs(folder, {"data": "digits"}, ["_data.py"]).get("SB", 1, recipe)["updates"] == 3
    assert _runs.Runs(folder, {"data": "digits"}, ["_report.py"]).get("SB", 1, recipe) is None
    assert _runs.Runs(folder, {"data": "mnist"}, ["_data.py"]).get("SB", 1, recipe) is None
    monkeypatch.setattr(_runs, "versions", lambda: {"keras": "0"})
    assert _runs.Runs(folder, {"data": "digits"}, ["_data.py"]).get("SB", 1, recipe) is None


def test_ctrl_c_keeps_what_is_finished(monkeypatch, tmp_path, capsys):
    trained = []
    finish = stand_in(trained)

    def interrupted(*arguments):
        if len(trained) == 2:
            raise KeyboardInterrupt
        return finish(*arguments)

    monkeypatch.setattr(closing_the_gap, "train", interrupted)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *flags(tmp_path))
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    assert len(list((tmp_path / "runs").iterdir())) == 2

    monkeypatch.setattr(closing_the_gap, "train", finish)
    call(monkeypatch, *flags(tmp_path))
    assert len(trained) == 5  # 2 before, 3 after


@pytest.mark.parametrize(
    "arguments",
    [["--seeds", "-1"], ["--epochs", "3"], ["--stretch", "nan"], ["--backend", "mxnet"]],
)
def test_bad_options_are_refused(monkeypatch, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, *arguments)
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--hold-out", "--large-batch"])
def test_sizes_that_the_data_cannot_give_are_refused(monkeypatch, tmp_path, flag):
    with pytest.raises(SystemExit, match="1201"):
        call(monkeypatch, *flags(tmp_path, flag, "1201"))


# --- the five arms


@pytest.fixture
def arms():
    recipe = types.SimpleNamespace(small_batch=40, epochs=150, learning_rate=0.05)
    regime = closing_the_gap.small_batch_regime(recipe, 4000)
    return closing_the_gap.five_arms(regime, 1000, virtual_batch=8, stretch=3)


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
        return closing_the_gap.network((40, 1), 10, arm.norm).get_weights()

    first, *others = [weights(arm, 5) for arm in arms.values()]
    for other in others:
        for a, b in zip(first, other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], weights(arms["SB"], 6)[0])


def test_a_seed_gives_the_same_training_again(arms):
    data = _data.load("digits", examples=1200)
    recipe = types.SimpleNamespace(small_batch=200, epochs=4, learning_rate=0.05)
    regime = closing_the_gap.small_batch_regime(recipe, 1200)
    arm = closing_the_gap.five_arms(regime, 400, virtual_batch=50, stretch=1)["+GBN"]
    silent = keras.callbacks.Callback()
    first, second = (closing_the_gap.train(data, arm, 1, silent) for _ in range(2))
    assert first["updates"] == arm.plan.updates == 12
    assert first["train_loss"] == pytest.approx(second["train_loss"], rel=1e-4)
    distances = (run["weight_distance"]["distance"] for run in (first, second))
    np.testing.assert_allclose(*distances, rtol=1e-4)


def test_network_takes_signals_and_images():
    norm = keras.layers.BatchNormalization
    signals = closing_the_gap.network((40, 1), 10, norm)
    assert sum(int(np.prod(w.shape)) for w in signals.trainable_variables) == 8106
    assert closing_the_gap.network((28, 28, 3), 7, norm).output_shape == (None, 7)


# --- _data.py


def idx(array, code=8):
    """The bytes of an idx file."""
    head = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + array.astype(_data.IDX_TYPES[code]).tobytes()


@pytest.mark.parametrize("code", sorted(_data.IDX_TYPES))
def test_idx_files_are_read_back(tmp_path, code):
    array = np.arange(24).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(array, code))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(array, code)))
    for name in ("plain", "packed.gz"):
        read = _data.read_idx(tmp_path / name)
        np.testing.assert_array_equal(read, array)
        assert read.dtype.isnative


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x01\0\x08\x01\0\0\0\0", "not an idx file"),
        (b"\0\0\x07\x01\0\0\0\0", "not an idx file"),
        (b"", "not an idx file"),
        (idx(np.arange(5))[:-1], "cut short"),
        (idx(np.arange(5)) + b"\0", "too long"),
        (idx(np.arange(5))[:6], "cut short"),
    ],
)
def test_broken_idx_files_are_refused(tmp_path, content, message):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        _data.read_idx(path)


def test_folder_of_idx_files(tmp_path):
    draw = np.random.default_rng(1)
    images = {"train": draw.integers(0, 256, (30, 6, 5)), "t10k": draw.integers(0, 256, (9, 6, 5))}
    for prefix, x in images.items():
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(x)))
        (tmp_path / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(len(x)) % 3))
    data = _data.load("ignored", data_dir=tmp_path, examples=20)
    assert data.name == tmp_path.name
    assert (data.shape, data.classes) == ((6, 5, 1), 3)
    assert (len(data.x_train), len(data.x_test)) == (20, 9)
    np.testing.assert_array_equal(data.y_test, np.arange(9) % 3)

    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(SystemExit, match="neither t10k-labels-idx1-ubyte nor"):
        _data.load("ignored", data_dir=tmp_path)


def test_tensorflow_datasets_are_asked_for_arrays(monkeypatch):
    asked = {}

    def load(name, **arguments):
        asked.update(arguments, name=name)
        x, y = np.arange(4 * 32 * 32 * 3, dtype="uint8").reshape(4, 32, 32, 3), np.arange(4)
        return [[(x[:3], y[:3]), (x[3:], y[3:])], [(x[:2], y[:2])]]  # in batches

    module = types.SimpleNamespace(load=load, as_numpy=iter)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", module)
    data = _data.load("cifar10")
    assert asked == {
        "name": "cifar10",
        "split": ["train", "test"],
        "batch_size": 1000,
        "as_supervised": True,
    }
    assert (data.shape, len(data.x_train), len(data.x_test)) == ((32, 32, 3), 4, 2)


def test_absent_tensorflow_datasets_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(SystemExit, match="pip install tensorflow-datasets"):
        _data.load("cifar10")


def test_mnist1d_is_the_package_s_own_less_its_standardisation():
    from mnist1d.data import get_dataset_args, make_dataset

    arguments = get_dataset_args()
    arguments.num_samples, arguments.seed = 200, 7
    theirs = make_dataset(arguments)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    x, y = _data._draw_mnist1d(200, 7)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(y, np.concatenate([theirs["y"], theirs["y_test"]]))
    standardised = (x[..., 0] - x.mean()) / x.std()
    np.testing.assert_allclose(standardised, np.concatenate([theirs["x"], theirs["x_test"]]))
    np.testing.assert_array_equal(x, _data._draw_mnist1d(200, 7)[0])


def test_mnist1d_as_the_demo_uses_it():
    data = _data.load("mnist1d")
    assert (data.x_train.shape, data.x_test.shape) == ((4000, 40, 1), (10_000, 40, 1))
    assert data.scored_on == "10,000 test samples"
    # By the training samples' statistics, which the test samples share but for chance.
    np.testing.assert_allclose([data.x_train.mean(), data.x_train.std()], [0, 1], atol=1e-5)
    np.testing.assert_allclose([data.x_test.mean(), data.x_test.std()], [0, 1], atol=0.02)
    assert abs(data.x_test.std() - 1) > 1e-5
    assert not set(map(bytes, data.x_train)) & set(map(bytes, data.x_test))


def test_hold_out_takes_from_the_training_samples_and_hides_the_test_set(monkeypatch):
    x = np.arange(100.0)[:, None]
    monkeypatch.setattr(_data, "digits", lambda: ((x, np.arange(100)), (x + 500, np.arange(100))))
    whole, data = _data.load("digits", examples=80), _data.load("digits", None, 30, 80)
    assert (len(data.y_train), len(data.y_test)) == (50, 30)
    assert not set(data.y_train) & set(data.y_test)
    assert set(data.y_train) | set(data.y_test) == set(whole.y_train)
    assert data.scored_on == "30 held-out samples"
    # Standardised with what is trained on, and that alone.
    np.testing.assert_allclose([data.x_train.mean(), data.x_train.std()], [0, 1], atol=1e-6)
    assert data.x_test.max() < 3  # 500 higher, and it would be 17
    for count in (80, 200):
        with pytest.raises(ValueError, match="cannot hold out"):
            _data.load("digits", None, count, 80)


# --- _report.py and _runs.py


def results(accuracies, train=1.0):
    """Trainings with these test accuracies in percent, by arm."""
    return [
        {
            "arm": arm,
            "seed": seed,
            "test_accuracy": accuracy / 100,
            "train_accuracy": train,
            "updates": 10 * place,
            "samples": 1000 * place,
            "seconds": float(place + seed),
            "weight_distance": {"update": [1, 10], "distance": [0.5, 1.0 + seed]},
        }
        for place, (arm, column) in enumerate(zip(ARMS, accuracies, strict=True), 1)
        for seed, accuracy in enumerate(column)
    ]


CLOSED = [(96.0, 95.8, 96.2), (91.0, 91.5, 92.0), (91.6, 92.0, 92.4), (95, 95.2, 95.4), (96,) * 3]


def test_table_has_means_and_sample_deviations():
    summary = _report.summarise(results(CLOSED))
    assert summary["LB"]["test_accuracy"] == pytest.approx(91.5)
    assert summary["LB"]["test_deviation"] == pytest.approx(0.5)
    assert summary["LB"]["seconds"] == pytest.approx(3)
    text = _report.table(summary, "a title", "held-out")
    assert text.startswith("a title\n")
    rows = {row[:22].strip(): row[22:].split() for row in text.splitlines() if "---" not in row}
    assert rows[""] == ARMS
    assert rows["held-out accuracy, %"][3:6] == ["91.50", "±", "0.50"]
    assert rows["training accuracy, %"] == ["100.00"] * 5
    assert rows["updates"] == ["10", "20", "30", "40", "50"]
    assert rows["samples processed"] == ["1,000", "2,000", "3,000", "4,000", "5,000"]
    assert rows["seconds"] == ["2.0", "3.0", "4.0", "5.0", "6.0"]
    assert _report.QUICK not in text
    assert _report.QUICK in _report.table(summary, "a title", quick=True)
    assert "±" not in _report.table(_report.summarise(results([[90]] * 5)), "").replace(
        "mean ±", ""
    )


def test_difference_is_paired_and_its_noise_has_two_parts():
    points, noise = _report.difference(results(CLOSED), "SB", "LB", 10_000)
    assert points == pytest.approx(4.5)
    pairs = np.array([5.0, 4.3, 4.2])
    seeds, test_set = pairs.var(ddof=1) / 3, 100**2 * 0.96 * 0.04 / 10_000
    assert noise == pytest.approx(2 * np.sqrt(seeds + test_set))
    # The order of the trainings is of no account, their seeds are.
    assert _report.difference(results(CLOSED)[::-1], "SB", "LB", 10_000)[0] == points


@pytest.mark.parametrize(
    ("accuracies", "sentence"),
    [
        (
            CLOSED,
            "The large batch loses 4.5 points; the scaled rate makes no clear difference (+0.5), "
            "ghost batch normalization gains 3.2, the adapted regime gains 0.8: "
            "the whole gap is closed, and the last arm ends level with the small batch (+0.0).",
        ),
        (
            [(96,) * 3, (92,) * 3, (94,) * 3, (94.1,) * 3, (94,) * 3],
            "The large batch loses 4.0 points; the scaled rate gains 2.0, ghost batch "
            "normalization makes no clear difference (+0.1), the adapted regime makes no clear "
            "difference (-0.1): 50 % of the gap is closed, and the last arm ends 2.0 points below "
            "the small batch.",
        ),
        (
            [(96,) * 3, (92,) * 3, (93,) * 3, (90,) * 3, (91,) * 3],
            "The large batch loses 4.0 points; the scaled rate gains 1.0, ghost batch "
            "normalization loses 3.0, the adapted regime gains 1.0: none of the gap is closed, "
            "and the last arm ends 5.0 points below the small batch.",
        ),
        (
            [(94,) * 3, (92,) * 3, (93,) * 3, (95,) * 3, (96,) * 3],
            "The large batch loses 2.0 points; the scaled rate gains 1.0, ghost batch "
            "normalization gains 2.0, the adapted regime gains 1.0: the whole gap is closed, "
            "and the last arm ends 2.0 points above the small batch.",
        ),
        (
            [(96,) * 3, (95.9,) * 3, (94,) * 3, (94,) * 3, (94,) * 3],
            "No clear gap here: the large batch is within noise of the small one (-0.1), so there "
            "is nothing to close.",
        ),
        (
            [(93,) * 3, (95,) * 3, (94,) * 3, (94,) * 3, (94,) * 3],
            "No gap here: the large batch is 2.0 points better than the small one, so there is "
            "nothing to close.",
        ),
    ],
)
def test_verdict_says_what_the_numbers_say(accuracies, sentence):
    assert _report.verdict(results(accuracies), 10_000) == sentence


def test_verdict_has_its_caveats():
    poor = _report.verdict(results(CLOSED, train=0.9), 10_000)
    assert "not every arm fits the training set (SB 90.0 %, LB 90.0 %, +LR" in poor
    single = _report.verdict(results([column[:1] for column in CLOSED]), 10_000)
    assert single.endswith("; one seed shows no spread.")
    assert _report.verdict(results(CLOSED), 10_000, quick=True) == _report.QUICK
    # What is a gap on 10 000 samples is none on 50.
    assert _report.verdict(results(CLOSED), 50).startswith("No clear gap here")


def test_picture_is_written_for_several_seeds_and_for_one(tmp_path):
    for count in (1, 3):
        path = tmp_path / f"{count}.png"
        trainings = results([column[:count] for column in CLOSED])
        _figure.write(path, trainings, "a title", "10 test samples")
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_training_that_diverged_is_written_as_json(tmp_path):
    trainings = results(CLOSED)
    trainings[3]["train_loss"] = float("nan")
    _report.write(tmp_path, trainings, {"title": "a title"})

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert content["trainings"][3]["train_loss"] is None
    with (tmp_path / "trainings.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(trainings)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "new folder" / "file"
    _runs.write_atomically(path, lambda part: part.write_text("old"))

    def fail(part):
        part.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        _runs.write_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


# --- large_batch_methods.py

METHODS = large_batch_methods.METHODS


def on_one_backend():
    """Their parts have tests on each, and `closing_the_gap.py` runs whole on each."""
    if keras.backend.backend() != "jax":
        pytest.skip("whole runs that take half a minute are made on JAX only")


@pytest.fixture(scope="module")
def quick_methods(tmp_path_factory):
    """One quick run in a process: what it printed, and where it wrote."""
    on_one_backend()
    folder = tmp_path_factory.mktemp("methods")
    flags = ["--quick", "--seeds", "3", "--output", str(folder)]
    return run("large_batch_methods.py", "--backend", keras.backend.backend(), *flags), folder


@pytest.fixture
def few_data(monkeypatch):
    """Stands for MNIST-1D, which takes seconds to draw."""
    loaded = {hold_out: _data.load("digits", None, hold_out, 1200) for hold_out in (0, 400)}
    monkeypatch.setattr(
        _data, "load", lambda name, hold_out=0, examples=None: loaded[400 if hold_out else 0]
    )
    return loaded[0]


def call_methods(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["large_batch_methods.py", *arguments])
    large_batch_methods.main()


def stand_in_for_methods(trained, score=lambda method, rate: 0.5):
    """Takes the place of `train`; notes what it was asked to train."""

    def train(data, method, rate, epochs, seed, progress):
        trained.append((method, rate, len(data.x_train), seed))
        scores = {"train_loss": 0.1, "train_accuracy": 1.0, "test_loss": 0.1}
        cost = {"updates": 2, "samples": 4, "seconds": 1.0}
        return {**cost, **scores, "test_accuracy": score(method, rate)}

    return train


def test_quick_methods_print_rates_table_and_verdict(quick_methods):
    printed, _ = quick_methods
    for name in METHODS:
        lines = [line for line in printed.splitlines() if line.startswith(f"{name:13}")]
        assert len(lines) == 1, name
        assert printed.count(f"seed 3  {name:13}") == 1
    assert printed.count(_report.QUICK) == 2


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
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


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
    rate = large_batch_methods.schedule(0.5, 400)
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

    monkeypatch.setattr(large_batch_methods, "train", stand_in_for_methods(trained, score))
    call_methods(monkeypatch, "--output", str(tmp_path))
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
    call_methods(monkeypatch, "--output", str(tmp_path))
    assert trained == []


def test_ctrl_c_keeps_the_methods_that_are_finished(monkeypatch, tmp_path, capsys, few_data):
    trained = []
    finish = stand_in_for_methods(trained)

    def interrupted(*arguments):
        if len(trained) == 7:
            raise KeyboardInterrupt
        return finish(*arguments)

    flags = ["--seeds", "4", "--output", str(tmp_path)]
    monkeypatch.setattr(large_batch_methods, "train", interrupted)
    with pytest.raises(SystemExit) as stop:
        call_methods(monkeypatch, *flags)
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    monkeypatch.setattr(large_batch_methods, "train", finish)
    call_methods(monkeypatch, *flags)
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
    summary = _methods_report.summarise(method_results(ROWS), sweeps, 10_000)
    text = _methods_report.table(summary, "a title")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if "---" not in line}
    assert text.startswith("a title\n")
    assert rows["SGD"][1:5] == ["0.1*", "92.00", "±", "0.10"]  # the smaller of two rates
    assert rows["LARS"][1] == "0.1"
    assert rows["LARS"][5:] == ["+2.00", "100.00", "400", "400,000", "3.0"]
    assert rows["+LR"][5] == "(+0.10)"
    assert "edge" in text
    assert _report.QUICK in _methods_report.table(summary, "a title", quick=True)


def test_methods_verdict_says_what_the_numbers_say():
    sentence = _methods_report.verdict(method_results(ROWS), 10_000)
    assert sentence == (
        "Over SGD at its best rate for the large batch, GBN gains 3.1 and LARS 2.0 points (the "
        "small batch: 4.0); +LR makes no clear difference; noise loses 2.0."
    )
    nothing = dict.fromkeys(ROWS, ROWS["SGD"])
    assert _methods_report.verdict(method_results(nothing), 10_000) == (
        "Over SGD at its best rate for the large batch, nothing gains (the small batch: no clear "
        "gap, +0.0); +LR, GBN, LARS and noise make no clear difference."
    )
    poor = _methods_report.verdict(method_results(ROWS, 0.9), 10_000)
    assert "every seed: SB 90.0 %, SGD 90.0 %, +LR" in poor
    single = {name: accuracies[:1] for name, accuracies in ROWS.items()}
    assert _methods_report.verdict(method_results(single), 10_000).endswith("no spread.")
    assert _methods_report.verdict(method_results(ROWS), 10_000, quick=True) == _report.QUICK


def test_rates_line_names_the_best_and_of_equals_the_smallest():
    assert _methods_report.best({0.1: 90.0, 0.2: 92.0, 0.4: 92.0}) == 0.2
    line = _methods_report.sweep_line("LARS", {0.1: 90.0, 0.2: 92.0})
    assert line.split() == ["LARS", "0.1", "90.00", "0.2", "92.00", "best", "0.2"]


def test_collapse_prints_table_and_warning(monkeypatch, tmp_path, capsys, few_data):
    flags = ["--collapse", "--quick", "--seeds", "3", "--output", str(tmp_path)]
    monkeypatch.setattr(_collapse, "BATCH", 300)
    call_methods(monkeypatch, *flags)
    printed = capsys.readouterr().out
    assert "4 updates" in printed
    assert "8 updates" in printed
    assert "long trainings collapse" in printed
    content = json.loads((tmp_path / "collapse" / "results.json").read_text())
    looks = {(look["arm"], look["updates"]): look for look in content["trainings"]}
    assert len(looks) == 2 * len(_collapse.ARMS)
    assert looks["neither", 8]["kernel_norm"] > looks["neither", 4]["kernel_norm"]
    assert looks["weight decay 1e-4", 8]["kernel_norm"] < looks["neither", 8]["kernel_norm"]
    call_methods(monkeypatch, *flags)
    assert capsys.readouterr().out.count("kept from an earlier run") == len(_collapse.ARMS)


# --- compare_minima.py


@pytest.fixture(scope="module")
def quick_minima(tmp_path_factory):
    """One quick run in a process: what it printed, and where it wrote."""
    on_one_backend()
    folder = tmp_path_factory.mktemp("minima")
    flags = ["--quick", "--seeds", "3", "--output", str(folder)]
    return run("compare_minima.py", "--backend", keras.backend.backend(), *flags), folder


def call_minima(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare_minima.py", *arguments])
    compare_minima.main()


def minimum(accuracy=0.96, sharpness=1.0, eigenvalue=2.0, **more):
    """The result of a training, with every measure."""
    return {
        **dict.fromkeys(_minima_report.ROWS, 0.5),
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


def minima(**arms):
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
    printed, _ = quick_minima
    for name in compare_minima.QUICK_ARMS:
        assert printed.count(f"seed 3  {name:4}") == 1
    for label in ("test accuracy, %", "sharpness 1e-3, %", "top eigenvalue", "noise scale"):
        assert sum(line.startswith(label) for line in printed.splitlines()) == 1, label
    assert printed.count(_report.QUICK) == 2
    assert max(map(len, printed.partition("Picture")[0].splitlines())) <= 73


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
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_minima_are_kept_after_ctrl_c(monkeypatch, tmp_path, capsys, few_data):
    trained = []

    def finish(data, arm, seed, effort, progress):
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

    monkeypatch.setattr(_minima_measures, "between", between)
    monkeypatch.setattr(compare_minima, "train_and_measure", interrupted)
    flags = ["--seeds", "4", "5", "--output", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        call_minima(monkeypatch, *flags)
    assert stop.value.code == 130
    assert "run it again" in capsys.readouterr().out
    monkeypatch.setattr(compare_minima, "train_and_measure", finish)
    call_minima(monkeypatch, *flags)
    assert trained == [(batch, seed) for seed in (4, 5) for batch in (40, 1000, 1000, 1000)]
    assert ends == [(40, 1000)] * 2
    assert capsys.readouterr().out.count("kept from an earlier run") == 5


def test_arms_are_measured_as_one_function(arms):
    data = _data.load("digits", examples=40)
    ghost = closing_the_gap.network(data.shape, data.classes, arms["+GBN"].norm)
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.1, 1, weight.shape) for weight in ghost.get_weights()]
    ghost.set_weights(weights)
    plain = _minima_measures.plain_network(data)
    plain.set_weights(weights)
    outputs = [np.asarray(model.predict(data.x_train, verbose=0)) for model in (ghost, plain)]
    np.testing.assert_allclose(*outputs, rtol=1e-4)


def test_barrier_is_above_the_higher_end_and_between_the_ends():
    assert _minima_measures.barrier(PATH, "interpolated") == 1.5
    assert _minima_measures.barrier(PATH, "estimated") == 0


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
    assert _minima_report.cell(*numbers) == text


def test_minima_table_has_unknown_noise_scales_and_fits_a_page():
    results = minima(SB=([96.0, 96.2], 0.0243, 0.0722), LB=([92.0, 91.0], 35.4, 118.0))
    results[2]["noise_scale"] = float("nan")
    summary = _minima_report.summarise(results)
    text = _minima_report.table(summary, {0: PATH, 1: PATH}, results, ["a title"])
    rows = {line[:21].strip(): line[21:].split() for line in text.splitlines()}
    assert rows["test accuracy, %"] == ["96.10±0.14", "91.50±0.71"]
    assert rows["noise scale, samples"] == ["0.500±0.000", "unknown"]
    assert "starts agreed in 16 of 20 searches" in text
    assert "interpolated statistics: 1.50±0.00" in text
    assert json.loads(json.dumps(summary))["LB"]["noise_scale"] == {"mean": None, "deviation": None}


def test_minima_verdict_says_what_the_numbers_say():
    sb, lb, lr = ([96.0, 96.1, 95.9], 1.0, 2.0), ([92.0, 92.1, 91.9], 400.0, 60.0), 92.1
    against = minima(**{"SB": sb, "LB": lb, "+LR": ([lr, lr, lr - 0.1], 4.0, 6.0)})
    assert _minima_report.verdict(against, 10_000) == (
        "Beside SB, LB is 4.0 points worse, 400 times as sharp and 30 times as curved, +LR is 3.9 "
        "points worse, 4 times as sharp and 3 times as curved; flatter is not always better here: "
        "+LR is flatter than LB and not clearly different in accuracy (+0.1)."
    )
    together = minima(SB=sb, LB=lb)
    sentence = _minima_report.verdict(together, 10_000)
    assert sentence.endswith("the flatter arm is the better one in all 1 pairs that differ.")
    apart = minima(SB=sb, LB=(lb[0], 400.0, 1.0))  # sharper in one measure, flatter in the other
    assert "no arm is flatter than another" in _minima_report.verdict(apart, 10_000)
    for training in together:
        training["train_accuracy"] = 0.9
    assert "by every seed: SB 90.0 %, LB 90.0 %" in _minima_report.verdict(together, 10_000)
    assert _minima_report.verdict(together[::3], 10_000).endswith("one seed shows no spread.")
    assert _minima_report.verdict(together, 10_000, quick=True) == _report.QUICK


def test_minima_picture_is_written_for_several_seeds_and_for_one(tmp_path):
    for count in (1, 3):
        path = tmp_path / f"{count}.png"
        trainings = minima(SB=([96.0] * count, 0.1, 2.0), LB=([92.0] * count, 10.0, 20.0))
        paths = dict.fromkeys(range(count), PATH)
        _minima_figure.write(path, trainings, paths, "a title", "10 test samples")
        assert path.read_bytes().startswith(b"\x89PNG")
