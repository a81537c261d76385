"""The examples in examples/distributed, each copied alone and run as a reader does, on the CPU."""

import ast
import re
import shutil
import socket

import keras
import pytest

from tests.distribution import processes, run_in_forks

BACKEND = keras.backend.backend()


def distance_in(printed):
    """The distance that an example prints; it must have made the updates of the global batch."""
    (distance,) = re.findall(r"^weight_distance: ([0-9.]+)$", printed, re.M)
    assert "12 updates" in printed, "those of the global batch"
    return float(distance)


@pytest.fixture
def run(tmp_path):
    """Runs an example; returns its printed lines, and the distance among them."""

    def run(script, **environment):
        copy = shutil.copy(processes.EXAMPLES / script, tmp_path)
        printed = processes.run(copy, "--epochs", 2, **environment)
        return printed, distance_in(printed)

    return run


@pytest.fixture
def run_each(tmp_path):
    """The same for an example of one process, once with each of the arguments."""

    def run_each(script, *arguments):
        copy = shutil.copy(processes.EXAMPLES / script, tmp_path)
        runs = [f"--epochs 2 {each}" for each in arguments]
        printed = processes.run(processes.HERE / "run_in_forks.py", copy, *runs)
        *parts, _ = printed.split(run_in_forks.SEPARATOR)
        assert len(parts) == len(runs)
        return [(part, distance_in(part)) for part in parts]

    return run_each


def only_on(backend):
    if backend != BACKEND:
        pytest.skip(f"run with the tests of {backend}")


def test_every_example_is_run_here():
    names = {path.name for path in processes.EXAMPLES.glob("*.py")}
    assert names == {
        "tensorflow_mirrored.py",
        "tensorflow_multi_worker.py",
        "jax_data_parallel.py",
        "jax_multi_process.py",
        "torch_ddp.py",
    }


def test_the_model_for_ddp_is_the_one_that_is_tested():
    """An example is one file, so it has a copy; tests/distribution trains the other one."""
    tested = processes.ROOT / "reproduction" / "replicated_model.py"
    classes = [
        ast.unparse(node)
        for path in (tested, processes.EXAMPLES / "torch_ddp.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef)
    ]
    assert len(classes) == 2
    assert classes[0] == classes[1]


def test_tensorflow_mirrored(run, run_each):
    only_on("tensorflow")
    # Micro-batches inside the step, and a custom loop over two processes: the same training.
    runs = run_each("tensorflow_mirrored.py", "", "--micro-batches 2", "--devices 1")
    (printed, distance), (_, in_parts), (_, one_device) = runs
    assert "2 replicas, batch 256" in printed
    assert in_parts == pytest.approx(distance, rel=1e-5)
    printed, two_processes = run("tensorflow_multi_worker.py")
    assert "2 replicas, batch 256" in printed
    assert two_processes == pytest.approx(distance, rel=1e-5)
    assert one_device == pytest.approx(distance, rel=1e-5)


def test_jax(run, run_each):
    only_on("jax")
    (printed, distance), (_, on_a_mesh) = run_each("jax_data_parallel.py", "", "--model 2")
    assert "8 devices, global batch 256" in printed
    assert on_a_mesh == pytest.approx(distance, rel=1e-5)
    printed, two_processes = run("jax_multi_process.py")
    assert "2 processes, 8 devices" in printed
    assert two_processes == pytest.approx(distance, rel=1e-5)


def test_torch_ddp(run):
    only_on("torch")
    printed, distance = run("torch_ddp.py")
    assert "2 ranks, global batch 256" in printed
    assert "largest difference between ranks: 0.0e+00" in printed
    # One rank, started as torchrun starts it.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    _, one_process = run("torch_ddp.py", **address, RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    assert one_process == pytest.approx(distance, rel=1e-5)
