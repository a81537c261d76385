"""Starts workers and examples in processes of their own, and reads what they found."""

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "examples" / "distributed"
# Programs in parts for several threads, and emitters of fused code, double the time to compile.
COMPILES_FAST = "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false"


def start(script, *arguments, **environment):
    base = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    base |= {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "OMP_NUM_THREADS": "1",
        # What LLVM makes faster than plain is not worth its time here, and changes no collective.
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        env={**base, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def finish(process, timeout=240):
    """What a process printed; it must have succeeded."""
    try:
        printed, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, _ = process.communicate()
        raise AssertionError(f"still running after {timeout} s:\n{printed[-4000:]}") from None
    assert process.returncode == 0, printed[-4000:]
    return printed


def run(script, *arguments, timeout=240, **environment):
    return finish(start(script, *arguments, **environment), timeout)


def results(printed):
    """The dictionary that `cases.report` printed."""
    (line,) = [line for line in printed.splitlines() if line.startswith("RESULTS ")]
    return json.loads(line.removeprefix("RESULTS "))
