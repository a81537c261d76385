"""Runs everything that must pass, goes on after a failure, and ends with a summary.

`make test` and `make test-hub` call it. Each backend has processes of its own, since Keras reads
its backend once, at import. A step begins as soon as its environment is installed and a place is
free, in the order of the list: the longest first. As a step waits now and then, one more than there
are cores runs at a time, three at most. Every half minute a line says how far the running ones are;
what a step prints is shown when it ended.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv-tools"
FLOOR = ROOT / ".venv-floor"
HUB = ROOT / ".venv-hub"
BACKENDS = ("jax", "tensorflow", "torch")


def without(paths: Sequence[str]) -> list[str]:
    """Pytest's options that leave folders, files or tests out."""
    return [f"--{'deselect' if '::' in path else 'ignore'}={path}" for path in paths]


# A backend's tests are three steps. NUMBERS are what is computed, held to float32's rounding: XLA
# compiles them as it does for users. PACKAGE are hundreds of small programs that run once: on JAX
# most of their time was XLA's, which does not optimize them here. All others run whole programs,
# which need that. Torch compiles nothing: its NUMBERS are in the step of PACKAGE.
LAYER = "tests/layers/test_ghost_batch_normalization.py"
NUMBERS = [
    "tests/backend",
    *(f"{LAYER}::test_any_batch_size", f"{LAYER}::test_one_group_is_plain_batch_norm"),
    *(f"{LAYER}::test_second_derivatives", "tests/layers/test_ghost_exactness.py"),
    *("tests/layers/test_ghost_moving_statistics.py", "tests/layers/test_masks.py"),
    *("tests/optimizers/test_lars.py", "tests/optimizers/test_layerwise.py"),
    *("tests/optimizers/test_median.py", "tests/optimizers/test_rules.py"),
    *("tests/callbacks/test_weight_distance.py", "tests/training/test_fit_stages.py"),
]
PACKAGE = [
    *("tests/callbacks", "tests/contract", "tests/diagnostics", "tests/layers"),
    *("tests/optimizers", "tests/schedules", "tests/training"),
]
# Kernels, of which the interpreter makes large programs.
KERNELS = "tests/backend/test_ghost_norm_tpu.py"
# What readers run: in `make test` on one backend, on the one that compiles nothing and takes least,
# and in `make test-hub` on all. The tutorials are made to run in seconds.
TUTORIALS = "tests/test_tutorials.py"
PAGES = ["tests/test_docs.py::test_page_runs", "tests/examples/test_one_file.py"]
# LLVM's optimizations, programs in parts for several threads, and emitters of fused code that take
# longer to compile.
UNOPTIMIZED = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
COMPILES_FAST = f"{UNOPTIMIZED} --xla_cpu_use_fusion_emitters=false"
# Documents, examples and reproductions are the newest Keras's, and so are the conversions of whole
# `keras.applications`, the longest tests. The layers and optimizers need no optimized code here.
# Two cases of a test are made, but for the contracts.
OLDEST_NUMBERS = [path for path in NUMBERS if "/layers/" not in path and "/optimizers/" not in path]
OLDEST_PACKAGE = ["-k", "not applications", *PACKAGE, *without(OLDEST_NUMBERS)]
OLDEST_PACKAGE += ["-p", "tests.few_cases"]
OLDEST_NUMBERS += ["tests/test_golden.py", "tests/private_api"]
# Other people's models, which `make test-hub` installs: their programs are small and run once.
PRETRAINED = f"{TUTORIALS}::test_runs_in_seconds[pretrained-network]"
OTHERS = ["--timeout=900", "tests/hub", TUTORIALS, *PAGES]
# One of them for `make test`, on torch, where it takes a second.
OTHER = "tests/hub/test_keras_hub.py::test_network[resnet]"
# What a change breaks first, in a minute.
QUICK = [
    *("tests/test_public_api.py", "tests/private_api", "tests/test_golden.py"),
    *("tests/backend", "tests/schedules", "tests/optimizers/test_rules.py"),
    *(LAYER, *without([KERNELS]), "-p", "tests.few_cases"),
]
# The letters of tests that ended, and how many there are in all once a line of them is full.
PROGRESS = re.compile(r"^([.sFExX]+)(?: +\[ *\d+/(\d+)\])?$", re.MULTILINE)


@dataclass
class Outcome:
    """How a step goes, and how it ended; the counts are those of its tests, if it runs any."""

    name: str
    ok: bool = False
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

    def progress(self) -> str:
        """The name, and how many tests have ended."""
        lines = PROGRESS.findall(self.printed)
        if not lines:
            return self.name
        totals = [f" of {total}" for _, total in lines if total]
        return f"{self.name} ({sum(len(done) for done, _ in lines)}{''.join(totals[:1])})"


@dataclass(frozen=True)
class Step:
    """What is run, and the environments that it needs."""

    name: str
    run: Callable[[Outcome, Path], bool]
    environments: tuple[Path, ...]


def run(outcome: Outcome, *command: str | Path, **environment: str) -> bool:
    """Runs a command with additions to the environment; whether it succeeded."""
    process = subprocess.Popen(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    while piece := os.read(process.stdout.fileno(), 65536):
        outcome.printed += piece.decode("utf-8", "replace")
    return process.wait() == 0


def install(environment: Path) -> bool:
    """Makes an environment by its target of the Makefile, which says what it installs."""
    # The flags of a `make` that called this script speak of its own jobs.
    variables = {key: value for key, value in os.environ.items() if key != "MAKEFLAGS"}
    done = subprocess.run(
        ["make", "--no-print-directory", f"{environment.name}/.done"],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 0


def lint(outcome: Outcome, _: Path) -> bool:
    """Style, format, types, and who may import whom."""
    tools = TOOLS / "bin"
    commands: list[tuple[str | Path, ...]] = [
        (tools / "ruff", "check", "--quiet"),
        (tools / "ruff", "format", "--check", "--quiet"),
        (tools / "mypy",),
        (tools / "lint-imports", "--no-logo"),
        (tools / "python", "scripts/check_guards.py"),
    ]
    succeeded = [run(outcome, *command) for command in commands]
    return all(succeeded)


def pytest(
    name: str, environment: Path, backend: str, arguments: Sequence[str], xla_flags: str = ""
) -> Step:
    """A step that runs tests on one backend and counts them."""

    def step(outcome: Outcome, scratch: Path) -> bool:
        report = scratch / "report.xml"
        options = ("-rs", "--durations=15", "-o", "console_output_style=count")
        ok = run(
            outcome,
            *(environment / "bin/python", "-m", "pytest", *options, f"--junitxml={report}"),
            *arguments,
            KERAS_BACKEND=backend,
            # Keras writes its settings there; the caller's own must neither change nor count.
            KERAS_HOME=str(scratch / "keras"),
            TF_CPP_MIN_LOG_LEVEL="3",
            # Dozens of tests start a Python, which must not compile Keras and its backend anew.
            PYTHONDONTWRITEBYTECODE="",
            # Several steps run at a time: torch's threads would wait for cores that others have.
            OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", "1"),
            # Most of a test's time on JAX is the compiler's, and many compile the same programs.
            JAX_COMPILATION_CACHE_DIR=str(scratch.parent / "jax"),
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
            JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
            XLA_FLAGS=f"{os.environ.get('XLA_FLAGS', '')} {xla_flags}".strip(),
        )
        if report.exists():
            suite = ElementTree.parse(report).getroot().find("testsuite")
            count = {} if suite is None else {key: int(suite.get(key, 0)) for key in _COUNTS}
            outcome.skipped = count.get("skipped", 0)
            outcome.failed = count.get("failures", 0) + count.get("errors", 0)
            outcome.passed = count.get("tests", 0) - outcome.failed - outcome.skipped
        return ok and outcome.passed > 0

    return Step(name, step, (environment,))


_COUNTS = ("tests", "failures", "errors", "skipped")


def docs(outcome: Outcome, scratch: Path) -> bool:
    """The site, with every warning an error, and all that its pages point to."""
    site = scratch / "site"
    # Not --quiet: that silences the warnings which --strict counts.
    build = (TOOLS / "bin/mkdocs", "build", "--strict", "--site-dir", site)
    built = run(outcome, *build, NO_MKDOCS_2_WARNING="1")
    return built and run(outcome, TOOLS / "bin/python", "scripts/offline.py", site)


def all_steps(backends: Sequence[str], tests: Path) -> list[Step]:
    """Everything that the backends asked for can show, the longest first."""
    steps = []
    # What takes all of them installed, or another one than was asked for.
    whole = set(backends) == set(BACKENDS)
    fast = ("-p", "tests.fast_graphs")
    # Programs take longest, and torch, which compiles nothing, the shortest.
    ordered = sorted(backends, key=("tensorflow", "jax", "torch").index)
    for backend in ordered:
        elsewhere = [*NUMBERS, *PACKAGE, TUTORIALS, "tests/hub", "tests/compiled"]
        if backend != ordered[-1]:
            elsewhere += PAGES
        programs = [*fast, "tests", *without(elsewhere)]
        steps.append(pytest(f"{backend} programs", tests, backend, programs))
    for backend in ordered:
        numbers = [] if backend == "torch" else NUMBERS
        package = [*fast, *PACKAGE]
        package += without(numbers) if numbers else ["tests/backend", OTHER]
        if backend == "jax":
            package += [KERNELS]
        if backend == ordered[-1]:
            package += [TUTORIALS, *without([PRETRAINED])]
        steps.append(pytest(f"{backend} package", tests, backend, package, COMPILES_FAST))
        if numbers:
            numbers = [*numbers, *without([KERNELS])]
            steps.append(pytest(f"{backend} numbers", tests, backend, numbers))
    if whole:
        steps.append(pytest("oldest package", FLOOR, "jax", OLDEST_PACKAGE, UNOPTIMIZED))
        steps.append(pytest("oldest numbers", FLOOR, "jax", OLDEST_NUMBERS))

    def build(outcome: Outcome, scratch: Path) -> bool:
        python = ("--python", tests / "bin/python")
        command = (TOOLS / "bin/python", "scripts/build.py", scratch / "dist", *python)
        return run(outcome, *command, KERAS_BACKEND=backends[0])

    return [
        *steps,
        Step("lint", lint, (TOOLS,)),
        Step("docs", docs, (TOOLS,)),
        Step("build", build, (TOOLS, tests)),
    ]


def finished(steps: list[Step], workers: int, scratch: Path) -> list[Outcome]:
    """Runs the steps, and says how it goes."""
    begin = time.monotonic()

    def say(text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - begin), 60)
        print(f"[{minutes:2}:{seconds:02}] {text}", flush=True)

    def execute(step: Step, outcome: Outcome) -> None:
        start, own = time.monotonic(), scratch / step.name
        own.mkdir()
        outcome.ok = step.run(outcome, own)
        outcome.seconds = time.monotonic() - start

    environments = dict.fromkeys(path for step in steps for path in step.environments)
    waiting, running, outcomes = list(steps), {}, []
    with ThreadPoolExecutor(workers + len(environments)) as pool:
        installed = {path: pool.submit(install, path) for path in environments}
        told = begin
        while waiting or running:
            for step in list(waiting):
                needed = [installed[path] for path in step.environments]
                if any(each.done() and not each.result() for each in needed):
                    waiting.remove(step)
                    outcomes.append(Outcome(step.name, printed="It has no environment.\n"))
                elif len(running) < workers and all(each.done() for each in needed):
                    waiting.remove(step)
                    outcome = Outcome(step.name)
                    running[pool.submit(execute, step, outcome)] = outcome
                    say(f"{step.name} begins")
            pending: list[Future] = [*running, *(f for f in installed.values() if not f.done())]
            wait(
                pending, timeout=max(0.0, told + 30 - time.monotonic()), return_when=FIRST_COMPLETED
            )
            for future in [each for each in running if each.done()]:
                outcome = running.pop(future)
                future.result()
                outcomes.append(outcome)
                say(f"{outcome.name} {'ended' if outcome.ok else 'FAILED'}")
                print(f"===== {outcome.name} =====\n{outcome.printed}", flush=True)
            if time.monotonic() >= told + 30:
                told = time.monotonic()
                installing = [
                    f"{p.name} (installing)" for p, f in installed.items() if not f.done()
                ]
                at = [*installing, *(outcome.progress() for outcome in running.values())]
                say(f"at {', '.join(at)}; {len(waiting)} to come")
    order = [step.name for step in steps]
    return sorted(outcomes, key=lambda outcome: order.index(outcome.name))


def main() -> int:
    """Runs the steps asked for; 0 if all of them passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--python", default=".venv", help="the tests' environment")
    parser.add_argument(
        "--quick", choices=BACKENDS, help="lint and a part of the tests, on this one"
    )
    parser.add_argument("--hub", action="store_true", help="the tests of other people's models")
    parser.add_argument("--only", help="the name of the one step to run")
    arguments = parser.parse_args()

    tests = ROOT / arguments.python
    if arguments.quick:
        quick = pytest(f"{arguments.quick} tests", tests, arguments.quick, QUICK)
        steps = [quick, Step("lint", lint, (TOOLS,))]
    elif arguments.hub:
        # Graphs as for users: another process must predict the same to the bit.
        steps = [
            pytest(f"{each} hub", HUB, each, OTHERS, COMPILES_FAST) for each in arguments.backends
        ]
    else:
        steps = all_steps(arguments.backends, tests)
    if arguments.only is not None:
        steps = [step for step in steps if step.name == arguments.only]

    print(f"To run: {', '.join(step.name for step in steps)}", flush=True)
    workers = min(3, 1 + (os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = finished(steps, workers, Path(scratch))

    print("\n===== summary =====", *outcomes, sep="\n")
    if set(arguments.backends) != set(BACKENDS):
        print(
            "\nLeft to `make test` with all backends: the oldest Keras, and what was skipped above"
        )
    if arguments.only is None:
        passed, failed, skipped = (
            sum(getattr(outcome, key) for outcome in outcomes)
            for key in ("passed", "failed", "skipped")
        )
        print(f"\ntests: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(not all(outcome.ok for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
