"""The command line of `python -m reproduction`: its commands, and the backend that it chooses."""

import importlib
import os
import types

import pytest

from reproduction.__main__ import BACKENDS, COMMANDS, main

EXPERIMENTS = {"table1", "table2", "figure", "list", "report"}


def test_every_command_is_run_by_a_test():
    """By the test file of its name, the experiments by `test_experiments.py`."""
    named = {"demo", "controls", "collapse", "minima", "moments", "recipes", "question", "again"}
    assert set(COMMANDS) == named | EXPERIMENTS


@pytest.mark.parametrize("variable", [None, "torch"])
@pytest.mark.parametrize("backend", [None, *BACKENDS])
def test_keras_is_loaded_with_the_backend_that_was_asked_for(monkeypatch, backend, variable):
    """The flag goes first, then the variable, then the first one that is installed."""
    loaded = []

    def load(name):
        loaded.append((name, os.environ["KERAS_BACKEND"]))
        return types.SimpleNamespace(main=lambda options: None)

    monkeypatch.setenv("KERAS_BACKEND", variable or "")  # `main` sets it: put back afterwards
    monkeypatch.setattr(importlib, "import_module", load)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorflow")
    main(["demo", *(["--backend", backend] if backend else [])])
    assert loaded == [("reproduction.demo", backend or variable or "tensorflow")]
