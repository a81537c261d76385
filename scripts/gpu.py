"""What a machine with GPUs can tell of this package, in one command: `make gpu PYTHON=...`.

It uses the Python that has the GPU builds of JAX, TensorFlow or torch, and installs nothing. For
each backend that sees a GPU it runs tests of the layer, the benchmark, and a training on all GPUs;
then the demo. What is not there, or does not fit in the time, is left out and named. At the end
there is a table, and one JSON file.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Programs that print a backend's GPUs by their names, one a line.
GPUS = {
    "jax": """
import jax
print(*[device.device_kind for device in jax.devices("gpu")], sep="\\n")
""",
    "tensorflow": """
import tensorflow as tf
for gpu in tf.config.list_physical_devices("GPU"):
    print(tf.config.experimental.get_device_details(gpu)["device_name"])
""",
    "torch": """
import torch
for number in range(torch.cuda.device_count()):
    print(torch.cuda.get_device_name(number))
""",
}
TESTS = ("tests/layers/test_ghost_batch_normalization.py", "tests/layers/test_ghost_exactness.py")
CASES = ("conv, channels last", "dense", "conv, bfloat16", "dense, a tail")


@dataclass
class Step:
    """One command: what it is for, how it ended, and what it printed at last."""

    name: str
    command: list[str]
    backend: str
    result: str = "left out"
    seconds: float = 0.0
    printed: str = ""


def gpus_of(backend: str) -> list[str]:
    """The names of the GPUs that a backend sees, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", GPUS[backend]], capture_output=True, text=True, check=False
    )
    return done.stdout.splitlines() if done.returncode == 0 else []


def steps_of(backend: str, gpus: int, folder: Path) -> list[Step]:
    """What is run on one backend."""
    benchmark = ["benchmarks/ghost_batch_normalization.py", "--backend", backend, "--rounds", "5"]
    benchmark += ["--only", "layer", "--cases", *CASES]
    benchmark += ["--json", str(folder / f"{backend}.json")]
    training = {
        "jax": ["examples/distributed/jax_data_parallel.py"],
        "tensorflow": ["examples/distributed/tensorflow_mirrored.py"],
        "torch": ["examples/distributed/torch_ddp.py", "--processes", str(gpus)],
    }
    commands = {
        "tests of the layer": ["-m", "pytest", "-q", "-x", *TESTS],
        "benchmark of the layer": benchmark,
        f"training on {gpus} GPU{'s' if gpus > 1 else ''}": training[backend],
    }
    return [
        Step(f"{backend}: {name}", [sys.executable, *command], backend)
        for name, command in commands.items()
    ]


def demo_of(backend: str) -> Step:
    """The paper's row, quickly."""
    command = [sys.executable, "-m", "reproduction", "demo", "--quick"]
    return Step(f"{backend}: the demo, quick", command, backend)


def run(step: Step, deadline: float) -> None:
    """Runs a step for as long as there is time."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": step.backend,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        # Otherwise the first process takes all of the memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    }
    start = time.monotonic()
    if deadline <= start:
        step.result = "left out: no time"
        return
    # Into a file, and a session of its own: a training starts processes, which may outlive it.
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        process = subprocess.Popen(
            step.command,
            cwd=ROOT,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(deadline - start)
            step.result = "FAILED" if code else "ok"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            step.result = "stopped: no time"
        printed.seek(0)
        step.printed = printed.read()[-4000:]
    step.seconds = round(time.monotonic() - start, 1)


def table(steps: list[Step], benchmarks: dict[str, dict]) -> str:
    """How each step ended, and the ratios of the benchmarks."""
    lines = [f"{step.name:42} {step.result:18} {step.seconds:6.1f} s" for step in steps]
    for backend, result in benchmarks.items():
        for case, found in result["cases"].items():
            ratios = ", ".join(f"{name} {r['median']:.2f}" for name, r in found["ratios"].items())
            lines.append(f"{backend}, {case} / Keras: {ratios}")
    return "\n".join(lines)


def main() -> int:
    """0 if nothing failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=ROOT / "gpu.json")
    parser.add_argument("--seconds", type=float, default=360.0, help="for all of it (360)")
    parser.add_argument("--dry-run", action="store_true", help="say what would run, for one GPU")
    arguments = parser.parse_args()

    begin = time.monotonic()
    gpus = {each: ["any"] if arguments.dry_run else gpus_of(each) for each in GPUS}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        steps = [
            step
            for each, found in gpus.items()
            if found
            for step in steps_of(each, len(found), folder)
        ]
        if steps:
            steps.append(demo_of(steps[0].backend))
        for step in steps:
            print(step.name, *(step.command if arguments.dry_run else ()), flush=True)
            if not arguments.dry_run:
                run(step, begin + arguments.seconds)
        benchmarks = {
            path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))
        }
    left_out = [
        f"{each}: not installed, or sees no GPU" for each, found in gpus.items() if not found
    ]
    found = {"gpus": gpus, "steps": [asdict(step) for step in steps], "left out": left_out}
    arguments.json.write_text(json.dumps({**found, "benchmarks": benchmarks}, indent=1) + "\n")
    print("", table(steps, benchmarks), *left_out, f"Written to {arguments.json}.", sep="\n")
    return int(any(step.result == "FAILED" for step in steps) or not steps)


if __name__ == "__main__":
    sys.exit(main())
