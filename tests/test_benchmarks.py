"""The benchmarks run, and the performance page says what they wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from benchmarks import report

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


def run(script, *arguments):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, BENCHMARKS / script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    ).stdout


def test_layer_benchmark(tmp_path):
    path = tmp_path / "result.json"
    # Without the loop over 128 groups, which takes 20 s to compile.
    options = ["--cases", "dense", "--contenders", "ghost", "--rounds", 3]
    options += ["--only", "layer", "memory"]
    printed = run("ghost_batch_normalization.py", *options, "--json", path)
    result = json.loads(path.read_text())
    assert result["environment"]["backend"] == keras.backend.backend()
    case = result["cases"]["dense"]
    ratios = case["ratios"]
    assert set(ratios) == {"ghost"}
    assert 0 < ratios["ghost"]["quartiles"][0] <= ratios["ghost"]["median"]
    assert f"{case['milliseconds']:7.1f} ms" in printed
    memory = result["memory"]["dense"]
    assert memory["input"] == 4096 * 512 * 4
    if keras.backend.backend() == "tensorflow":
        assert memory["peak"]["ghost"] is None  # Its allocator counts nothing.
    else:
        # The output and the input's gradient, and of full size little else.
        assert 1.9 < memory["peak"]["ghost"] / memory["input"] < 3


def test_page_has_the_tables_of_the_results():
    assert {path.stem for path in RESULTS} == {"jax", "tensorflow", "tensorflow-xla", "torch"}
    text = report.tables(report.load(RESULTS))
    page = (ROOT / "docs" / "performance.md").read_text()
    assert text in page


def test_report_updates_a_page_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    run("report.py", *RESULTS, "--page", page, "--figure", tmp_path / "figure.png")
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| dense |" in text
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_report_refuses_a_page_without_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(subprocess.CalledProcessError) as error:
        run("report.py", *RESULTS, "--page", page)
    assert "has no lines" in error.value.stderr
    assert page.read_text() == "no marks"
