"""Making trainings, and keeping each in a JSON file, so that a second run resumes."""

import contextlib
import hashlib
import importlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_bigbatch
from reproduction.remaining_time import RemainingTime

HERE = Path(__file__).parent
PACKAGE = "keras_bigbatch"  # in `sources` the name of all of its files together
QUICK = "QUICK RUN: it shows that everything works, and is evidence of nothing."


@dataclass(frozen=True)
class Case:
    """One training of an experiment, or one measurement; it is made for each seed.

    Args:
        arm: Its name in tables and pictures.
        recipe: What it is made with, in plain JSON types: it is kept, and compared on another run.
        epochs: Length, for the progress line.
        run: Makes it, given the seed and a `ProgressLine`; returns plain JSON types. A training
            has at least what `training.train` returns, a measurement has `seconds`.
    """

    arm: str
    recipe: dict[str, Any]
    epochs: int
    run: Callable[[int, Any], dict[str, Any]]


class Runs:
    """The finished trainings in a folder, each known by everything that decides its outcome.

    Args:
        folder: Where the files are; made if missing.
        settings: What all trainings have in common, as plain JSON types.
        sources: Names of the files beside this one whose text decides the outcome.
        package: Patterns of the package's files whose text does; all of them by default.
    """

    def __init__(self, folder, settings, sources, package=("**/*.py",)):
        self.folder = Path(folder)
        self.sources = hashes(sources, package)
        # The versions too: the same script with another Keras is another experiment.
        self.common = {"settings": settings, "sources": self.sources, "versions": versions()}

    def get(self, arm, seed, recipe):
        """Return the result of a finished training, or None."""
        path = self._path(arm, seed, recipe)
        return json.loads(path.read_text())["result"] if path.exists() else None

    def keep(self, arm, seed, recipe, result):
        """Write the result of a finished training."""
        content = {**self.common, "hardware": hardware(), "recipe": recipe, "result": result}
        path = self._path(arm, seed, recipe)
        write_atomically(path, lambda part: part.write_text(json.dumps(content)))

    def once(self, arm, seed, recipe, train):
        """Return the result of a training, and whether it was kept: if not, `train()` makes it."""
        result = self.get(arm, seed, recipe)
        if result is not None:
            return result, True
        result = train()
        self.keep(arm, seed, recipe, result)
        return result, False

    def make(self, cases, seeds, line, time_left=False):
        """Make what is not finished yet. Seeds outside, arms inside: all arms as soon as can be.

        Args:
            cases: One an arm.
            seeds: Each case is made with each.
            line: Makes of a result the text that a reader sees.
            time_left: Whether each line ends with how long the others will take.

        Returns:
            Arm, seed, recipe and result of each, in one dictionary.
        """
        made, width = [], max(len(case.arm) for case in cases)
        remaining, count = RemainingTime(cases, len(seeds)), len(cases) * len(seeds)
        with self.resumable():
            for seed in seeds:
                for case in cases:
                    number = f"{len(made) + 1:{len(str(count))}} of {count}"
                    label = f"{number}  seed {seed}  {case.arm:{width}}"
                    progress = ProgressLine(label, case.epochs)
                    task, start = (seed, progress), time.perf_counter()
                    result, kept = self.once(
                        case.arm, seed, case.recipe, lambda case=case, task=task: case.run(*task)
                    )
                    seconds = result["seconds"] if kept else time.perf_counter() - start
                    remaining.made(case, seconds)
                    left = f"  {remaining}" if time_left else ""
                    note = "  (kept from an earlier run)" if kept else left
                    progress.finish((line(result) + note).rstrip())
                    made.append({"arm": case.arm, "seed": seed, **case.recipe, **result})
        return made

    @contextlib.contextmanager
    def resumable(self):
        """Ctrl-C ends the process with a sentence."""
        try:
            yield
        except KeyboardInterrupt:
            print(f"\nStopped. Finished trainings are in {self.folder}; run it again to go on.")
            raise SystemExit(130) from None

    def context(self):
        """What `results.json` says of all trainings."""
        return {"hardware": hardware(), **self.common}

    def _path(self, arm, seed, recipe):
        identity = json.dumps([self.common, arm, seed, recipe], sort_keys=True)
        name = arm.strip("+").replace(" ", "-")
        return self.folder / f"{name}-seed{seed}-{_sha256(identity.encode())[:12]}.json"


class ProgressLine(keras.callbacks.Callback):
    """Rewrites one line while a training runs; without a terminal it prints one a minute.

    Args:
        label: How the line begins.
        epochs: Epochs in all.
    """

    def __init__(self, label, epochs):
        super().__init__()
        self.label, self.epochs = label, epochs
        self.start = self.shown = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now, terminal = time.perf_counter(), sys.stdout.isatty()
        if now - self.shown < (0.2 if terminal else 60):
            return
        self.shown = now
        text = f"{self.label}  epoch {epoch + 1}/{self.epochs}  loss {logs['loss']:.4f}"
        text += f"  {now - self.start:.0f} s"
        print(f"\r{text} " if terminal else text, end="" if terminal else "\n", flush=True)

    def finish(self, text):
        """Replace the line by its last state."""
        clear = "\r\033[K" if sys.stdout.isatty() else ""
        print(f"{clear}{self.label}  {text}", flush=True)


def hashes(sources, package=("**/*.py",)):
    """The SHA-256 of files by their names, and of the package as a whole.

    Args:
        sources: Names of files beside this one.
        package: Patterns of the package's files.
    """
    found = {name: _sha256((HERE / name).read_bytes()) for name in sources}
    root = Path(keras_bigbatch.__file__).parent
    files = sorted({path for pattern in package for path in root.glob(pattern)})
    return {**found, PACKAGE: _sha256(b"".join(path.read_bytes() for path in files))}


def writes():
    """Whether this process writes files: of torchrun's processes the first one."""
    return int(os.environ.get("RANK", "0")) == 0


def write_atomically(path, write):
    """Call `write` with a path beside `path`, then rename: there is never half a file."""
    if not writes():
        return
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def six_digits(value):
    """A number with the digits that are worth keeping; None, as JSON has it, if not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def versions():
    """The versions that a number depends on."""
    backend = keras.backend.backend()
    # TensorFlow goes by several names on the index; the module knows its own version.
    module = importlib.import_module(backend)
    return {
        "keras_bigbatch": keras_bigbatch.__version__,
        "keras": keras.__version__,
        "backend": backend,
        backend: module.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def hardware():
    """The machine that the seconds were measured on."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux: the cores that we may use
    return {
        "cpu": _cpu_model(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "accelerator": _accelerator(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_model():
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def _accelerator():
    """The name of the first accelerator, or None."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    devices = [name for name in keras.distribution.list_devices() if "cpu" not in name.lower()]
    return devices[0] if devices else None


def _sha256(content):
    return hashlib.sha256(content).hexdigest()
