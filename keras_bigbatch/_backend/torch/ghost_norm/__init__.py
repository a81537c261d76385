"""Ghost batch norm on PyTorch: a forward and a backward pass that make no full-size temporaries.

Run as separate operations, the time goes into temporaries: every one is memory that must be
written and read back, and on a CPU mapped. The forms here write into outputs that are allocated
once: `tiles` and `kernel` on a CPU, `gpu`. Nothing of full size but the input is kept for the
backward pass.
"""

import functools
import importlib.util
from types import ModuleType
from typing import Any

import torch
from torch.autograd import forward_ad

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch._backend.torch import private_api
from keras_bigbatch._backend.torch.ghost_norm import kernel, tiles
from keras_bigbatch._backend.torch.ghost_norm.tiles import Walk
from keras_bigbatch._typing import Tensor
from keras_bigbatch._user_warnings import warn_user

traced_once = ghost_norm.traced_once


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, GhostMoments]:
    """By a form that writes into memory where that is possible, else by the reference."""
    if mask is not None or not _is_plain(x) or _has_tangent(x, gamma, beta):
        return ghost_norm.ghost_normalize(x, gamma, beta, virtual_batch, axis, epsilon, mask)
    channels = x.shape[axis]
    options = {"dtype": torch.float32, "device": x.device}
    gamma = torch.ones(channels, **options) if gamma is None else gamma
    beta = torch.zeros(channels, **options) if beta is None else beta
    y, *moments = _GhostNorm.apply(x, gamma, beta, virtual_batch, axis, epsilon)
    return y, GhostMoments(*moments)


def moved_by_kernel(
    old: tuple[Tensor, Tensor], moments: GhostMoments, momentum: float, statistics: str
) -> tuple[Tensor, Tensor] | None:
    """On GPUs, where plain operations are fifty kernels."""
    if not _is_plain(moments.mean) or moments.count.shape[1] > 1:
        return None
    gpu = gpu_form(moments.mean.device.type)
    if gpu is None:
        return None
    return gpu.moved(old, moments, momentum, statistics)


def python_is_compiled() -> bool:
    """Whether torch's compiler does: a flag that changes would be a reason to compile anew."""
    return torch.compiler.is_compiling()


def _is_plain(x: Tensor) -> bool:
    """Whether `x` is data in memory, and not a stand-in that something traces with."""
    return (
        not torch.compiler.is_compiling()
        and _has_form(x.device.type)
        and x.numel() > 0
        and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and type(x) in (torch.Tensor, torch.nn.Parameter)
        and not x.is_inference()
        and not private_api.function_transforms_may_be_active()
    )


def _has_form(device: str) -> bool:
    """Whether there is one. A trace records torch's operations, and no other kernels."""
    return device == "cpu" if gpu_form(device) is None else not torch.jit.is_tracing()


def _has_tangent(*tensors: Tensor | None) -> bool:
    """Whether one of them is differentiated in forward mode, which no write into memory follows."""
    return any(t is not None and forward_ad.unpack_dual(t).tangent is not None for t in tensors)


class _GhostNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, *options: Any) -> Any:
        virtual_batch, axis, epsilon = options
        walk = Walk(x, virtual_batch, axis)
        y = _empty_like(walk.x)
        mean, variance = walk.statistics(), walk.statistics()
        moments = GhostMoments(mean.new_empty((len(mean), 1)), mean, variance)
        _form(walk).normalize(walk, gamma, beta, epsilon, (y, *moments))
        ctx.options = options
        ctx.save_for_backward(x, gamma, beta, mean, variance)
        ctx.mark_non_differentiable(*moments)
        ctx.set_materialize_grads(False)  # zeros for the moments
        return y, *moments

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x, gamma, beta, *moments = ctx.saved_tensors
        virtual_batch, axis, epsilon = ctx.options
        # A second derivative is wanted, in reverse or in forward mode.
        if torch.is_grad_enabled() or _has_tangent(dy):
            return *_differentiable((x, gamma, beta), ctx.options, dy), None, None, None
        walk = Walk(x, virtual_batch, axis)
        dx, sums = _empty_like(walk.x), walk.statistics(2)
        _form(walk).differentiate(walk, gamma, moments, epsilon, dy, (dx, sums))
        dgamma, dbeta = sums.sum(1)
        return dx, dgamma, dbeta, None, None, None


def _form(walk: Walk) -> ModuleType:
    return gpu_form(walk.x.device.type) or (kernel if kernel.suits(walk) else tiles)


@functools.cache
def gpu_form(device: str) -> ModuleType | None:
    """The kernels for a kind of device; None if it is no GPU, or where they do not run."""
    if device != "cuda" or importlib.util.find_spec("triton") is None:
        return None
    try:
        from keras_bigbatch._backend.torch.ghost_norm import gpu

        gpu.try_out(device)
    except Exception as error:  # whatever Triton lacks: it compiles, by a C compiler among others
        warn_user(
            "Ghost batch norm runs as more than a hundred operations per step instead of eleven "
            f"kernels: Triton cannot compile those. {type(error).__name__}: {error}"
        )
        return None
    return gpu


def _empty_like(x: Tensor) -> Tensor:
    """Memory for an output."""
    y = torch.empty_like(x)
    if x.device.type == "cpu":
        private_api.ask_for_huge_pages(y)
    return y


def _differentiable(
    inputs: tuple[Tensor, ...], options: tuple[Any, ...], dy: Tensor
) -> list[Tensor | None]:
    """The gradients as operations that have gradients themselves, through the reference."""
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    with torch.enable_grad():
        y, _ = ghost_norm.ghost_normalize(*inputs, *options)
        found = iter(torch.autograd.grad(y.to(dy.dtype), wanted, dy, create_graph=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]
