"""The scripts behind `make test` and `make build`: what they say, and what they refuse."""

import json
import re
import subprocess
import sys
import tarfile
import time
import zipfile

import keras
import pytest

from tests.test_public_api import ROOT

if keras.backend.backend() != "jax":
    pytest.skip("the scripts know no backend: once is enough", allow_module_level=True)

sys.path.append(str(ROOT / "scripts"))

import build
import check
import gpu


def test_the_shell_can_read_every_recipe_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z]+):.* ## ", makefile, re.MULTILINE)
    assert {"demo", "test", "check", "build"} <= set(targets)
    make = ("make", "--no-print-directory", "--always-make", "--dry-run", *targets)
    recipes = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m reproduction demo" in recipes
    checked = subprocess.run(("sh", "-n"), input=recipes, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_progress_is_read_from_what_pytest_has_printed():
    outcome = check.Outcome("jax tests")
    assert outcome.progress() == "jax tests"
    outcome.printed = "running on keras 3.15.1\n..s"
    assert outcome.progress() == "jax tests (3)"
    outcome.printed += "F   [  4/340]\n.x"
    assert outcome.progress() == "jax tests (6 of 340)"


def test_every_test_is_in_a_step_of_each_backend():
    names = [step.name for step in check.all_steps(check.BACKENDS, ROOT / ".venv")]
    assert [name for name in names if "oldest" in name] == ["oldest package", "oldest numbers"]
    for backend in ("jax", "tensorflow"):
        assert {f"{backend} {part}" for part in ("package", "numbers", "programs")} <= set(names)
    torch = [step.name for step in check.all_steps(["torch"], ROOT / ".venv-torch")]
    assert torch == ["torch programs", "torch package", "lint", "docs", "build"]
    for part in (check.NUMBERS, check.PACKAGE, check.OLDEST_PACKAGE, check.QUICK):
        assert [
            each
            for each in part
            if each.startswith("tests/") and not (ROOT / each.partition("::")[0]).exists()
        ] == []


def test_a_step_without_its_environment_fails_and_the_others_run(monkeypatch, tmp_path, capsys):
    good, bad = ROOT / ".venv", ROOT / ".venv-floor"
    monkeypatch.setattr(check, "install", lambda path: path == good)

    def step(outcome, scratch):
        outcome.printed = f"in {scratch.name}\n"
        return outcome.name != "breaks"

    names = {"works": (good,), "breaks": (good,), "lacks": (good, bad)}
    steps = [check.Step(name, step, needs) for name, needs in names.items()]
    found = {each.name: each.ok for each in check.finished(steps, 2, tmp_path)}
    assert found == {"works": True, "breaks": False, "lacks": False}
    printed = capsys.readouterr().out
    assert "] works begins\n" in printed
    assert "] works ended\n===== works =====\nin works\n" in printed
    assert "] breaks FAILED\n" in printed


def test_wheels_and_source_distributions_are_looked_into(tmp_path):
    wheel, source = tmp_path / "some.whl", tmp_path / "some.tar.gz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("keras_bigbatch/__init__.py", "")
        archive.writestr("keras_bigbatch-0.1.0.dist-info/METADATA", "")
        archive.writestr("tests/__init__.py", "")
    with tarfile.open(source, "w:gz") as archive:
        archive.add(ROOT / "README.md", "keras_bigbatch-0.1.0/README.md")
    found = list(build.problems(wheel, source))
    assert "the wheel holds tests" in found
    assert "the wheel lacks keras_bigbatch/py.typed" in found
    assert "the source distribution lacks CHANGELOG.md" in found
    assert not [line for line in found if "README" in line or ".gitignore" in line]


# --- for a machine with GPUs


def gpu_report(monkeypatch, path, *options):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--json", str(path), *options])
    return gpu.main(), json.loads(path.read_text())


def test_what_would_run_on_a_gpu_is_there(monkeypatch, tmp_path):
    code, found = gpu_report(monkeypatch, tmp_path / "gpu.json", "--dry-run")
    assert code == 0
    assert {step["backend"] for step in found["steps"]} == set(check.BACKENDS)
    words = [word for step in found["steps"] for word in step["command"]]
    scripts = [word for word in words if re.match(r"(tests|benchmarks|examples)/", word)]
    assert len(scripts) == 3 * 4
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_on_gpus_what_fails_and_what_has_no_time_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(gpu, "gpus_of", lambda backend: ["one"] if backend == "torch" else [])

    def steps(backend, gpus, folder):
        (folder / "torch.json").write_text('{"cases": {"dense": {"ratios": {}}}}')
        # The last has a child that prints where it does, as those of a training have.
        lasts = "import subprocess; subprocess.run(['sleep', '100'])"
        programs = ("print('fine')", "raise SystemExit(3)", lasts)
        return [gpu.Step(each, [sys.executable, "-c", each], backend) for each in programs]

    monkeypatch.setattr(gpu, "steps_of", steps)
    begin = time.monotonic()
    code, found = gpu_report(monkeypatch, tmp_path / "gpu.json", "--seconds", "2")
    assert time.monotonic() - begin < 30
    assert code == 1
    results = ["ok", "FAILED", "stopped: no time", "left out: no time"]
    assert [step["result"] for step in found["steps"]] == results
    assert found["steps"][0]["printed"] == "fine\n"
    assert found["benchmarks"]["torch"]["cases"] == {"dense": {"ratios": {}}}
    left_out = [f"{each}: not installed, or sees no GPU" for each in ("jax", "tensorflow")]
    assert found["left out"] == left_out
    printed = capsys.readouterr().out
    assert all(line in printed for line in left_out)


def test_without_a_gpu_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "gpus_of", lambda _: [])
    code, found = gpu_report(monkeypatch, tmp_path / "gpu.json")
    assert (code, found["steps"], len(found["left out"])) == (1, [], 3)
