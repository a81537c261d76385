"""What several tests of the commands share."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from reproduction.__main__ import main

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG"


def run(*words, **environment):
    """Runs a command as a reader does, in a process of its own; returns what it printed."""
    base = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    base.pop("KERAS_BACKEND", None)
    return subprocess.run(
        [sys.executable, "-m", "reproduction", *map(str, words)],
        env={**base, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    ).stdout


def printed(*words):
    """Runs a command in this process; returns what it printed."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        main(words)
    return out.getvalue()


def only_on(backend):
    """The parts have tests on each backend, and the demo makes an arm on each."""
    if keras.backend.backend() != backend:
        pytest.skip(f"whole runs of this command, which take long, are made on {backend} only")


def small_network(shape, classes, norm):
    """In place of a network whose convolutions take long to compile."""
    layers = [keras.layers.Flatten(), keras.layers.Dense(8, use_bias=False), norm()]
    layers += [keras.layers.ReLU(), keras.layers.Dense(classes)]
    return keras.Sequential([keras.Input(shape), *layers])


def batches(fitted):
    """Those of a pipeline, as `fit` would get them."""
    return [(x, y) for x, y in fitted["x"].as_numpy_iterator()]


def whole(fitted):
    """The same, one after the other."""
    return tuple(map(np.concatenate, zip(*batches(fitted), strict=True)))
