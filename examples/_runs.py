"""Keeping what is finished: one JSON file a training, so that a second run resumes."""

import hashlib
import importlib
import json
import math
import os
import platform
from pathlib import Path

import keras
import numpy as np

import keras_bigbatch

HERE = Path(__file__).parent


class Runs:
    """The finished trainings in a folder, each known by everything that decides its outcome.

    Args:
        folder: Where the files are; made if missing.
        settings: What all trainings have in common, as plain JSON types.
        sources: Names of the files beside this one whose text decides the outcome.
    """

    def __init__(self, folder, settings, sources):
        self.folder = Path(folder)
        self.sources = {name: _sha256((HERE / name).read_bytes()) for name in sources}
        package = sorted(Path(keras_bigbatch.__file__).parent.rglob("*.py"))
        self.sources["keras_bigbatch"] = _sha256(b"".join(path.read_bytes() for path in package))
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

    def _path(self, arm, seed, recipe):
        identity = json.dumps([self.common, arm, seed, recipe], sort_keys=True)
        name = arm.strip("+").replace(" ", "-")
        return self.folder / f"{name}-seed{seed}-{_sha256(identity.encode())[:12]}.json"


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
