"""Torch's kernels for GPUs: values by Triton's interpreter, and what its compiler makes of them.

`make test-compiled` runs this and the layer's own tests as on a GPU (`tests.triton_interpreter`).
"""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

if keras.backend.backend() != "torch" or importlib.util.find_spec("triton") is None:
    pytest.skip("`make test-compiled` installs Triton", allow_module_level=True)

import torch

from keras_bigbatch._backend import GhostMoments
from keras_bigbatch._backend.reference.ghost_norm import ghost_normalize
from keras_bigbatch._backend.torch import ghost_norm
from keras_bigbatch.layers import _moving_statistics
from tests.test_public_api import ROOT
from tests.user_warnings import assert_said_once, recorded

# Shape, axis, size of a group: one group and several, with tails, and channels that fill no tile;
# positions in both layouts, of which a tile has all, some of one sample, or those of several.
CASES = [
    ((64, 10), 1, 7),
    ((67, 130), 1, 32),
    ((50, 3), 1, 50),
    ((9, 1), 1, 1),
    ((6, 3, 5, 6), 3, 4),
    ((9, 6, 7, 5), 1, 4),
    ((5, 3, 9, 33), 1, 2),
    ((3, 20, 20, 2), 3, 1),
    ((20, 5, 1), 1, 4),
]
EPSILON = 1e-3


@pytest.fixture(params=[2048, 64], ids=lambda elements: f"tiles of {elements}")
def gpu(request, monkeypatch):
    """The kernels, with tiles that hold a group and tiles that do not."""
    from keras_bigbatch._backend.torch.ghost_norm import gpu

    assert ghost_norm.gpu_form("cpu") is gpu, "run with `-p tests.triton_interpreter`"
    monkeypatch.setattr(gpu, "_TILE", request.param)
    monkeypatch.setattr(gpu, "_ROWS", request.param // 16)
    return gpu


def step(normalize, shape, axis, size, precision, mean=0.0):
    """The output, the moments and the gradients, from numbers that all precisions hold."""
    torch.manual_seed(0)
    channels = shape[axis]
    x, dy = torch.randn(2, *shape).bfloat16().float()
    parameters = torch.rand(channels) + 0.5, torch.randn(channels)
    wide = torch.promote_types(precision, torch.float32)
    inputs = [(x + mean).to(precision), *(each.to(wide) for each in parameters)]
    inputs = [each.requires_grad_() for each in inputs]
    y, moments = normalize(*inputs, size, axis, EPSILON)
    y.backward(dy.to(y.dtype))
    found = {"y": y, **moments._asdict()}
    found.update(zip(("dx", "dgamma", "dbeta"), (each.grad for each in inputs), strict=True))
    return {name: each.detach().double() for name, each in found.items()}


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("shape", "axis", "size"), CASES, ids=str)
def test_values_and_gradients(shape, axis, size, precision):
    actual = step(ghost_norm.ghost_normalize, shape, axis, size, precision)
    wanted = step(ghost_normalize, shape, axis, size, torch.float64)
    for name, value in wanted.items():
        half = precision == torch.bfloat16 and name in ("y", "dx")
        bound = (2.0**-8 if half else 3e-6) * float(value.abs().max())
        np.testing.assert_allclose(actual[name], value, atol=bound, rtol=0, err_msg=name)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(("shape", "axis", "size"), CASES[:6:2], ids=str)
def test_far_from_zero_nothing_of_the_mean_is_lost(shape, axis, size):
    actual = step(ghost_norm.ghost_normalize, shape, axis, size, torch.float32, mean=1e4)
    wanted = step(ghost_normalize, shape, axis, size, torch.float64, mean=1e4)
    for name in ("y", "mean", "variance"):
        bound = 1e-6 * float(wanted[name].abs().max())
        np.testing.assert_allclose(actual[name], wanted[name], atol=bound, rtol=0, err_msg=name)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("statistics", ["sequential", "mean", "batch"])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
@pytest.mark.parametrize("groups", [1, 5, 300])
def test_moving_statistics(groups, momentum, statistics):
    """Against the operations, with a group that is masked throughout and one that overflowed."""
    torch.manual_seed(0)
    count = torch.full((groups, 1), 8.0)
    mean, variance = torch.randn(groups, 40), torch.rand(groups, 40)
    if groups > 1:
        count[1], count[-1] = 0, 15
        variance[3, 39], mean[2, 0] = torch.inf, 1e3
    old, moments = (torch.randn(40), torch.rand(40)), GhostMoments(count, mean, variance)
    actual = ghost_norm.moved_by_kernel(old, moments, momentum, statistics)
    old, moments = [each.double() for each in old], GhostMoments(*(m.double() for m in moments))
    wanted = _moving_statistics._moved_by_groups(*old, moments, momentum, statistics)
    for one, other in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


@pytest.mark.usefixtures("gpu")
def test_any_strides():
    """Of everything that has them: the kernels themselves read what lies side by side."""
    torch.manual_seed(0)
    x = torch.randn(6, 9, 5, 8).permute(1, 3, 0, 2)[:, ::2]  # [9, 4, 6, 5]
    gamma, beta, means, variances = torch.rand(4, 4, 2).unbind(2)[0]
    dy = torch.randn(1, 4, 1, 1).expand(x.shape)
    found = []
    for normalize in (ghost_norm.ghost_normalize, ghost_normalize):
        inputs = [each.detach().requires_grad_() for each in (x, gamma, beta)]
        y, moments = normalize(*inputs, 4, 1, EPSILON)
        found.append([y, *torch.autograd.grad(y, inputs, dy)])
    old = torch.stack([means, variances], 1).unbind(1)
    moved = ghost_norm.moved_by_kernel(old, moments, 0.9, "mean")
    found[0] += moved
    found[1] += _moving_statistics._moved_by_groups(*old, moments, 0.9, "mean")
    for actual, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(actual.detach(), wanted.detach(), rtol=1e-5, atol=1e-5)


def test_where_the_kernels_do_not_run_operations_do(monkeypatch):
    """The warning says why: here, that this torch has no CUDA."""
    from keras_bigbatch._backend.torch.ghost_norm import gpu

    gpu.try_out("cpu")
    monkeypatch.undo()  # what the interpreter's plugin has put in the kernels' place
    ghost_norm.gpu_form.cache_clear()
    with recorded() as said:
        assert ghost_norm.gpu_form("cuda") is None
        assert ghost_norm.gpu_form("cuda") is None
    assert_said_once(said, "Torch not compiled with CUDA enabled", __file__)


# --- kernels, passes, registers


def rows_of(script, folder, *arguments):
    """The rows that a benchmark writes."""
    path = folder / "rows.json"
    command = [sys.executable, ROOT / "benchmarks" / script, "--json", path, *arguments]
    places = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": places}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(path.read_text())["rows"]


def test_kernels_and_passes(tmp_path):
    """On CUDA torch's fused batch norm is a kernel forward, and one backward beside `ones_like`."""
    rows = rows_of("torch_passes.py", tmp_path)
    assert len(rows) == 8
    for row in rows:
        assert row["fused"] == {"forward": 1, "backward": 1, "passes": 5.0}
        if row["precision"] == "float32":
            assert (row["Keras"]["forward"], row["Keras"]["backward"]) == (20, 23)
        assert row["ghost"]["forward"] <= 8
        assert row["ghost"]["backward"] <= 4
        assert row["ghost"]["passes"] <= 10


def test_compiled_for_gpus(tmp_path):
    """Nothing spills from the registers, and where the memory allows it loads are the widest."""
    rows = rows_of("triton_kernels.py", tmp_path, "--chips", "H100")
    assert len(rows) == 72
    for row in rows:
        assert row["spilled"] == 0, row
        reads_the_input = row["kernel"] not in ("group_moments", "moved")
        if reads_the_input and not row["case"].endswith(("7 x 7", "V = 7")):
            assert row["widest load"] == 128, row
