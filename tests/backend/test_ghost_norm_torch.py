"""Torch's own ghost batch norm: what depends on its tiles, its kernel and its outputs."""

import re
from pathlib import Path

import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch.layers import GhostBatchNormalization
from tests.backend.ghost_norm_cases import BACKEND

pytestmark = [
    pytest.mark.skipif(BACKEND != "torch", reason="torch's tiles, kernel and outputs of our own"),
    pytest.mark.usefixtures("tiles"),
]


def test_any_strides():
    import torch

    layer = GhostBatchNormalization(8)
    layer.build((19, 4, 5, 6))
    base = torch.randn(4, 19, 6, 12)
    for x in (
        base.permute(1, 0, 3, 2)[:, :, :5, :],
        torch.randn(19, 4, 5, 6)[:, :, :, :1].expand(19, 4, 5, 6),
    ):
        y = layer(x, training=True)
        wanted, _ = ghost_norm.ghost_normalize(x, None, None, 8, 3, layer.epsilon)
        np.testing.assert_allclose(y.detach().numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize(("mean", "far"), [(0, 0), (1e4, 0), (0, 100), (1e4, 100)])
def test_moments_about_the_first_tile(axis, mean, far):
    import torch

    x = np.random.default_rng(0).normal(mean, 1, size=(24, 6, 5, 6)).astype("float32")
    x[::8] += far  # A group's first sample, which may be all of its first tile.
    _, moments = _backend.active().ghost_norm.ghost_normalize(
        torch.tensor(x), None, None, 8, axis, 1e-3
    )
    groups = x.astype("float64").reshape(3, 8, 6, 5, 6)
    others = tuple(i for i in range(1, 5) if i != axis + 1)
    np.testing.assert_allclose(moments.mean, groups.mean(others), rtol=3e-7, atol=1e-5)
    # E[x^2] - E[x]^2 is off by 6 of a variance of 1 at a mean of 1e4.
    np.testing.assert_allclose(moments.variance, groups.var(others), rtol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "shape", "taken"),
    [
        ("bfloat16", (64, 16, 16, 64), True),
        ("float16", (64, 16, 16, 64), True),
        ("float32", (64, 16, 16, 64), False),
        ("float16", (64, 16, 17, 64), False),  # Too many elements of a channel.
        ("bfloat16", (64, 16, 17, 64), True),
        ("bfloat16", (95, 16, 33, 64), True),  # All of it one group.
        ("bfloat16", (64, 4, 4, 16), False),  # Too few of a group.
    ],
    ids=str,
)
def test_when_torchs_kernel_is_taken(monkeypatch, dtype, shape, taken):
    import torch

    from keras_bigbatch._backend.torch.ghost_norm import kernel, tiles

    monkeypatch.setattr(kernel, "_LEAST", 2**14 // torch.get_num_threads())
    x = torch.zeros(shape, dtype=getattr(torch, dtype))
    assert kernel.suits(tiles.Walk(x, 32, 3)) == taken


@pytest.fixture
def one_thread():
    """Sums in one fixed order; more threads sum fewer elements each, in another order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float16", 2**13), ("bfloat16", 2**16), ("float16", 2**19), ("bfloat16", 2**19)],
)
def test_moments_of_large_groups_in_half_precision(dtype, size, axis):
    import torch

    shape = (64, 3, size // 64) if axis == 1 else (64, size // 64, 3)
    x = torch.tensor(np.random.default_rng(0).normal(1e4, 100, size=shape))
    x = x.to(getattr(torch, dtype))
    _, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 64, axis, 1e-3)
    variance, mean = torch.var_mean(x.double(), (0, 3 - axis), correction=0)
    # The kernel's of 2**19 elements, channels last, are off by 3e-4 and 7e-4 or more. In 2**16 the
    # sum is exact, but that of the squares is rounded: the second bound holds for this draw and
    # this order.
    np.testing.assert_allclose(moments.mean[0], mean, rtol=1e-6)
    np.testing.assert_allclose(moments.variance[0], variance, rtol=2e-4)


@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("axis", [1, 2])
def test_small_variances_in_half_precision(epsilon, axis):
    import torch

    x = np.random.default_rng(0).normal(0, 1e-4, size=(16, 6, 6))
    x = torch.tensor(x).to(torch.bfloat16)
    x[:8, 2] = x[:8, :, 2] = 0  # A channel that is constant.
    _, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, axis, epsilon)
    wanted = x.double().reshape(2, 8, 6, 6).var((1, 4 - axis), correction=0)
    np.testing.assert_allclose(moments.variance, wanted, rtol=1e-5)


@pytest.mark.parametrize("axis", [1, 2])
def test_an_overflow_shows_in_half_precision(axis):
    import torch

    x = torch.randn(16, 6, 6).to(torch.bfloat16)
    x[3, 2, 2] = 1e30
    x.requires_grad_()
    y, _ = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, axis, 1e-3)
    (dx,) = torch.autograd.grad(y.sum(), x)
    for values in (y.detach(), dx):
        bad = torch.zeros_like(values, dtype=torch.bool)
        bad[:8].select(axis, 2).fill_(True)
        assert torch.equal(~values.isfinite(), bad)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_whatever_the_default_type_is(dtype):
    import torch

    x = torch.randn(19, 6).to(getattr(torch, dtype))
    wanted, _ = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 1, 1e-3)
    torch.set_default_dtype(torch.float64)
    try:
        y, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 1, 1e-3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(y, wanted)
    assert moments.variance.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [19, 1000])  # The second in huge pages.
def test_outputs_are_like_any_other_tensor(dtype, batch):
    import torch

    x = torch.randn(batch, 64, 4, 5).to(getattr(torch, dtype)).movedim(1, 3).requires_grad_()
    y, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 3, 1e-3)
    for tensor in (y, *moments[1:]):
        assert not tensor._is_view()
    assert (y.dtype, y.shape, y.stride()) == (x.dtype, x.shape, x.stride())
    wanted = y.detach().clone().relu()
    assert torch.equal(y.relu_(), wanted)
    y.sum().backward()
    assert (x.grad.dtype, x.grad.shape, x.grad.stride()) == (x.dtype, x.shape, x.stride())
    y.untyped_storage().resize_(0)  # As those do who free activations early.


@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no Linux, or no huge pages"
)
def test_large_outputs_ask_for_huge_pages():
    import torch

    x = torch.randn(1000, 64, 64)
    y, _ = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 2, 1e-3)
    inside = y.data_ptr() + y.nbytes // 2
    flags = {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            begin, end = (int(bound, 16) for bound in line.split()[0].split("-"))
        elif line.startswith("VmFlags:"):
            flags[begin, end] = line.split()
    [found] = [flag for (begin, end), flag in flags.items() if begin <= inside < end]
    assert "hg" in found


@pytest.mark.filterwarnings("ignore")  # The tracer warns that it fixes the shapes.
@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-5), ("bfloat16", 2.0**-6)])
def test_a_trace_holds_the_groups(dtype, rounding):
    import torch

    def normalized(inputs):
        return _backend.active().ghost_norm.ghost_normalize(inputs, None, None, 8, 1, 1e-3)[0]

    x, other = (torch.randn(19, 6).to(getattr(torch, dtype)).requires_grad_() for _ in range(2))
    traced = torch.jit.trace(normalized, other)
    y, wanted = traced(x).detach().float(), normalized(x).detach().float()
    np.testing.assert_allclose(y, wanted, rtol=rounding, atol=rounding)


def test_function_transforms_see_through():
    import torch

    layer = GhostBatchNormalization(8)
    layer.build((19, 6))
    x = torch.randn(19, 6)

    def loss(inputs):
        return (layer(inputs, training=True) ** 3).sum()

    inputs = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(loss(inputs), inputs)

    def normalized(inputs):
        y, _ = _backend.active().ghost_norm.ghost_normalize(inputs, None, None, 8, 1, layer.epsilon)
        return (y**3).sum()

    np.testing.assert_allclose(torch.func.grad(normalized)(x), wanted, rtol=1e-4, atol=1e-5)
