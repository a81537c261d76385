"""Runs everything that must pass, goes on after a failure, and ends with a summary.

`make test` calls it with all environments made. Each backend has a process of its own, since Keras
reads its backend once, at import. As most tests keep one core busy and wait now and then, one step
more than there are cores runs at a time, three at most; what a step prints is shown when it ended.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / ".venv/bin/python"
TOOLS = ROOT / ".venv-tools/bin"
FLOOR = ROOT / ".venv-floor/bin/python"

# The oldest Keras runs the package's own tests; documents and examples are the newest one's, and so
# are the conversions of whole `keras.applications`, the longest tests. In two parts, so that
# neither of two cores is left without work at the end.
FLOOR_TESTS = {
    "oldest keras 1": [
        *("-k", "not applications"),
        "tests/layers",
        "tests/schedules",
        "tests/callbacks",
        "tests/test_golden.py",
    ],
    "oldest keras 2": ["tests/diagnostics", "tests/contract"],
}


@dataclass
class Outcome:
    """How a step ended; the counts are those of its tests, if it ran any."""

    name: str
    ok: bool
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    printed: str = ""

    def __str__(self) -> str:
        line = f"{self.name:18} {'ok' if self.ok else 'FAILED':8} {self.seconds:5.0f} s"
        if self.passed or self.failed or self.skipped:
            line += f"   {self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return line


def run(outcome: Outcome, *command: str | Path, cwd: Path = ROOT, **environment: str) -> bool:
    """Runs a command with additions to the environment; whether it succeeded."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    outcome.printed += done.stdout
    return done.returncode == 0


def lint(outcome: Outcome, _: Path) -> bool:
    """Style, format, types, and who may import whom."""
    commands: list[tuple[str | Path, ...]] = [
        (TOOLS / "ruff", "check", "--quiet"),
        (TOOLS / "ruff", "format", "--check", "--quiet"),
        (TOOLS / "mypy",),
        (TOOLS / "lint-imports", "--no-logo"),
        (TOOLS / "python", "scripts/check_guards.py"),
    ]
    succeeded = [run(outcome, *command) for command in commands]
    return all(succeeded)


def pytest(python: Path, backend: str, paths: Sequence[str]) -> Callable[[Outcome, Path], bool]:
    """A step that runs tests on one backend and counts them."""

    def step(outcome: Outcome, scratch: Path) -> bool:
        report = scratch / "report.xml"
        ok = run(
            outcome,
            *(python, "-m", "pytest", "-rs", "--durations=15", f"--junitxml={report}", *paths),
            KERAS_BACKEND=backend,
            # Keras writes its settings there; the caller's own must neither change nor count.
            KERAS_HOME=str(scratch / "keras"),
            TF_CPP_MIN_LOG_LEVEL="3",
            # Dozens of tests start a Python, which must not compile Keras and its backend anew.
            PYTHONDONTWRITEBYTECODE="",
            # Several steps run at a time: torch's threads would wait for cores that others have.
            OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"),
            # Most of a test's time on JAX is the compiler's, and many tests, and the oldest Keras's
            # once more, compile the same programs.
            JAX_COMPILATION_CACHE_DIR=str(scratch.parent / "jax"),
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
        )
        if report.exists():
            suite = ElementTree.parse(report).getroot().find("testsuite")
            count = {} if suite is None else {key: int(suite.get(key, 0)) for key in _COUNTS}
            outcome.skipped = count.get("skipped", 0)
            outcome.failed = count.get("failures", 0) + count.get("errors", 0)
            outcome.passed = count.get("tests", 0) - outcome.failed - outcome.skipped
        return ok and outcome.passed > 0

    return step


_COUNTS = ("tests", "failures", "errors", "skipped")


def docs(outcome: Outcome, scratch: Path) -> bool:
    """The site, with every warning an error, and all that its pages point to."""
    site = scratch / "site"
    # Not --quiet: that silences the warnings which --strict counts.
    build = (TOOLS / "mkdocs", "build", "--strict", "--site-dir", site)
    built = run(outcome, *build, NO_MKDOCS_2_WARNING="1")
    return built and run(outcome, TOOLS / "python", "scripts/offline.py", site)


def wheel(outcome: Outcome, scratch: Path) -> bool:
    """Builds the wheel and imports it from a folder that has no sources."""
    pip = (TESTS, "-m", "pip", "-qq", "--disable-pip-version-check")
    if not run(outcome, *pip, "wheel", "--no-deps", "--wheel-dir", scratch, ROOT):
        return False
    (built,) = scratch.glob("*.whl")
    installed = scratch / "installed"
    script = (
        "import pathlib, keras_bigbatch as kbb; here = pathlib.Path(kbb.__file__).parent; "
        f"ok = here.parent == pathlib.Path({str(installed)!r}) and (here / 'py.typed').exists(); "
        f"print('imported from {built.name}' if ok else here); raise SystemExit(not ok)"
    )
    return run(outcome, *pip, "install", "--no-deps", "--target", installed, built) and run(
        outcome, *(TESTS, "-c", script), cwd=scratch, PYTHONPATH=str(installed), KERAS_BACKEND="jax"
    )


def main() -> int:
    """Runs the steps asked for; 0 if all of them passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=["jax", "tensorflow", "torch"])
    parser.add_argument("--only", help="the name of the one step to run")
    arguments = parser.parse_args()

    steps: dict[str, Callable[[Outcome, Path], bool]] = {"lint": lint}
    for backend in arguments.backends:
        steps[f"tests {backend}"] = pytest(TESTS, backend, ["tests"])
    steps |= {name: pytest(FLOOR, "jax", tests) for name, tests in FLOOR_TESTS.items()}
    steps |= {"docs": docs, "wheel": wheel}
    if arguments.only is not None:
        steps = {arguments.only: steps[arguments.only]}

    def ended(name: str) -> Outcome:
        outcome = Outcome(name, ok=False)
        begin = time.monotonic()
        own = Path(scratch, name)
        own.mkdir()
        outcome.ok = steps[name](outcome, own)
        outcome.seconds = time.monotonic() - begin
        return outcome

    print(f"Running {', '.join(steps)}; some minutes each ...", flush=True)
    outcomes = []
    workers = min(3, 1 + (os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(workers) as pool:
        for outcome in pool.map(ended, steps):
            print(f"\n===== {outcome.name} =====\n{outcome.printed}", end="", flush=True)
            outcomes.append(outcome)

    print("\n===== summary =====", *outcomes, sep="\n")
    if arguments.only is None:
        passed, failed, skipped = (
            sum(getattr(outcome, key) for outcome in outcomes)
            for key in ("passed", "failed", "skipped")
        )
        print(f"\ntests: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(not all(outcome.ok for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
