"""The benchmarks run, and the performance page says what they wrote."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from benchmarks import compiled_report, optimizers_report, report

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


def test_page_has_the_table_of_the_optimizers():
    page = (ROOT / "docs" / "performance.md").read_text()
    assert optimizers_report.text() in page


def reported(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    report.main()


def test_report_updates_a_page_between_its_marks(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    reported(monkeypatch, *RESULTS, "--page", page, "--figures", tmp_path)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "| dense |" in text
    drawn = {path.name for path in tmp_path.glob("*.svg")}
    themes = ("light", "dark")
    assert drawn == {f"performance-{n}-{theme}.svg" for n in (1, 2, 3, 4) for theme in themes}


def test_report_refuses_a_page_without_marks(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="has no lines"):
        reported(monkeypatch, *RESULTS, "--page", page)
    assert page.read_text() == "no marks"


# --- compiled for accelerators


def test_the_page_on_accelerators_has_the_tables_of_the_results():
    page = (ROOT / "docs" / "accelerators.md").read_text()
    assert compiled_report.tables(compiled_report.load()) in page


HLO = """HloModule step

%body (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0)
  ROOT %one = f32[8]{0} fusion(%x), backend_config={"estimated_cycles":"10"}
}

ENTRY %main (a: bf16[4,8], b: f32[8]) -> f32[8] {
  %a = bf16[4,8]{1,0} parameter(0)
  %b = f32[8]{0} parameter(1)
  %k.1 = (bf16[4,8]{1,0}, f32[2,8]{1,0}) custom-call(%a, %b), custom_call_target="tpu_custom_call"
  %l = f32[8]{0} while(%b), body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %r = f32[8]{0} all-reduce(%l), to_apply=%sum, backend_config={"estimated_cycles":"100"}
  ROOT %s = f32[8]{0} all-reduce-start(%r), to_apply=%sum
}
"""


def test_what_the_compiler_leaves_out_is_counted():
    from benchmarks import _hlo

    # A kernel reads 64 + 32 bytes and writes 64 + 64; the loop's body runs three times.
    assert _hlo.kernels(HLO) == {"k.1": 224}
    assert _hlo.cycles(HLO, 0.5) == 224 * 0.5 + 3 * 10 + 100
    assert _hlo.collectives(HLO) == {"all-reduce": 2}


SLICES = """HloModule step

%tail (x: bf16[65,8]) -> f32[1,8] {
  %x = bf16[65,8]{1,0} parameter(0)
  %c = f32[65,8]{1,0} convert(%x)
  ROOT %s = f32[1,8]{1,0} slice(%c), slice={[64:65], [0:8]}
}

ENTRY %main (a: bf16[65,8]) -> f32[65,8] {
  %a = bf16[65,8]{1,0} parameter(0)
  %t = f32[1,8]{1,0} fusion(%a), kind=kLoop, calls=%tail
  ROOT %r = f32[65,8]{1,0} negate(%a)
}
"""


def test_of_a_slice_no_more_is_read():
    """Also if it is taken of what is converted: the kernel converts what it takes."""
    from benchmarks import _hlo

    fusion = _hlo.computations(SLICES)["tail"]
    assert _hlo.taken(fusion, "x", 65 * 8 * 2) == 8 * 2
    # One read in bfloat16 and one write in float32, in units of the input.
    assert _hlo.passes(SLICES, 65 * 8 * 2) == 3
