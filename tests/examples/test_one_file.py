"""Every example is one short file, which is copied to an empty folder and run there."""

import ast
import contextlib
import io
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
EVERY = sorted(EXAMPLES.rglob("*.py"))
# What its last line, or its first ones, say.
PRINTED = {
    "quickstart.py": "Test accuracy: ",
    "adamw.py": "Test accuracy: ",
    "convert_a_model.py": "predictions differ by 0.0e+00 at most",
    "batch_stages.py": "small, then large  12 epochs,",
    "sharpness.py": "loss on the line from 30 to 300: ",
}
INSTALLED = {"jax", "keras", "keras_bigbatch", "numpy", "sklearn", "tensorflow", "torch"}


def run(name, folder):
    """Copies an example alone, and runs it as a reader does, in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, shutil.copy(EXAMPLES / name, folder)],
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=250,
    ).stdout


def run_here(name, folder, monkeypatch):
    """Copies an example alone, and runs it in this process, which need not start a backend."""
    monkeypatch.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(shutil.copy(EXAMPLES / name, folder), run_name="__main__")
    return out.getvalue()


def test_every_example_is_run_here():
    assert set(PRINTED) == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.filterwarnings("ignore:Limiting steps_per_epoch to 1:UserWarning")
@pytest.mark.parametrize("name", PRINTED)
def test_runs_in_an_empty_folder(name, tmp_path, monkeypatch, request):
    whole = keras.backend.backend() == "jax"  # elsewhere an update an epoch is enough
    if whole and name == "quickstart.py":
        printed = run(name, tmp_path)
    else:
        if not whole:
            keras.config.set_max_steps_per_epoch(1)
            request.addfinalizer(lambda: keras.config.set_max_steps_per_epoch(None))
        printed = run_here(name, tmp_path, monkeypatch)
    assert PRINTED[name] in printed
    if name == "quickstart.py":
        assert "large batch" in printed
        assert "weight_distance: " in printed
        if whole:
            assert float(printed.rpartition("Test accuracy:")[2]) > 0.2  # chance is 0.1
    left = {path.name for path in tmp_path.iterdir()} - {name}
    assert left == ({"converted.keras"} if name == "convert_a_model.py" else set())


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_needs_only_what_is_installed(path):
    source = path.read_text()
    assert len(source.splitlines()) <= 120
    assert "sys.path" not in source
    tree = ast.parse(source)
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    assert imported <= INSTALLED | sys.stdlib_module_names


@pytest.mark.parametrize("path", EVERY, ids=lambda path: path.stem)
def test_reads_no_command_line_when_it_is_imported(path):
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            continue
        if isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test):
            continue
        assert "argv" not in ast.unparse(statement)
        assert "parse_args" not in ast.unparse(statement)
