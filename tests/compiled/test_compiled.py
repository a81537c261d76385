"""What the accelerators' compilers make of the layer, without them: `make test-compiled`."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.test_public_api import ROOT

if importlib.util.find_spec("libtpu") is None:
    pytest.skip("`make test-compiled` installs libtpu", allow_module_level=True)


def compiled(folder, *arguments, part="layers", **settings):
    """The rows that the benchmark writes, which has to be another process: it is one of a TPU."""
    path = folder / "rows.json"
    script = ROOT / "benchmarks" / "compiled.py"
    command = [sys.executable, script, part, "--json", path, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    environment.pop("XLA_FLAGS", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return {(row["case"], row["precision"]): row for row in json.loads(path.read_text())["rows"]}


@pytest.mark.parametrize("chip", ["v5e", "v6e"])
def test_one_chip(tmp_path, chip):
    rows = compiled(tmp_path, "--chips", chip, "--cases", "convolution 1024", "dense 4096")
    assert len(rows) == 4
    for (case, _), row in rows.items():
        assert row["alone"] <= (0.9 if case.startswith("convolution") else 0.8), row
        assert row.get("network", 0) <= 1.9, row


@pytest.mark.parametrize("number", [8, 256])
def test_chips_send_sums_alone(tmp_path, number):
    options = ("--cases", "dense 4096", "--precisions", "float32")
    rows = compiled(tmp_path, "--chips", "v5e", "--numbers", number, *options)
    (row,) = rows.values()
    for kind in ("alone", "network"):
        ghost, plain = (row[f"{kind} {norm}, collectives"] for norm in ("ghost", "Keras"))
        assert set(ghost) == {"all-reduce"}
        assert sum(ghost.values()) < sum(plain.values())
    assert row["alone"] <= 0.8
    assert row["network"] <= 1.9


def test_where_jax_uses_64_bits(tmp_path):
    """Its literals are of 64 bits then, which no kernel takes."""
    options = ("--cases", "dense 8192", "--precisions", "float32")
    rows = compiled(tmp_path, "--chips", "v5e", *options, JAX_ENABLE_X64="1")
    assert [row["alone"] <= 1.4 and row["network"] <= 2.2 for row in rows.values()] == [True]


def test_gpu(tmp_path):
    cases = ("convolution", "dense 4096", "dense, a tail")
    rows = compiled(tmp_path, "--cases", *cases, part="gpu")
    assert len(rows) == 8
    for row in rows.values():
        # Forward it is read twice and written once; backward two arrays are read twice.
        assert 7.9 <= row["ghost"] <= row["Keras"], row
