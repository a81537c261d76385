"""Ghost batch norm on PyTorch: a forward and a backward pass that make no full-size temporaries.

Run as separate operations on a CPU, the time goes into temporaries: every one is memory that must
be mapped, written and read back. This writes piece by piece into outputs that are allocated once.
Nothing of full size but the input is kept for the backward pass.
"""

from types import ModuleType
from typing import Any

import torch
from torch.autograd import forward_ad

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch._backend.reference.ghost_groups import GhostGroups
from keras_bigbatch._backend.torch import private_api
from keras_bigbatch._backend.torch.ghost_norm import kernel, tiles
from keras_bigbatch._backend.torch.ghost_norm.tiles import Walk, inverse_deviation
from keras_bigbatch._typing import Tensor

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
    """In tiles or by torch's kernel where that is possible, else by the reference."""
    if mask is not None or not _is_plain(x) or _has_tangent(x, gamma, beta):
        return ghost_norm.ghost_normalize(x, gamma, beta, virtual_batch, axis, epsilon, mask)
    channels = x.shape[axis]
    gamma = torch.ones(channels, dtype=torch.float32) if gamma is None else gamma
    beta = torch.zeros(channels, dtype=torch.float32) if beta is None else beta
    y, mean, variance = _GhostNorm.apply(x, gamma, beta, virtual_batch, axis, epsilon)
    count = GhostGroups(x, virtual_batch, axis).sizes("float32")
    return y, GhostMoments(count, mean, variance)


def python_is_compiled() -> bool:
    """Whether torch's compiler does: a flag that changes would be a reason to compile anew."""
    return torch.compiler.is_compiling()


def _is_plain(x: Tensor) -> bool:
    """Whether `x` is data in a CPU's memory, and not a stand-in that something traces with."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.numel() > 0
        and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and type(x) in (torch.Tensor, torch.nn.Parameter)
        and not x.is_inference()
        and not private_api.function_transforms_may_be_active()
    )


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
        _form(walk).normalize(walk, gamma, beta, epsilon, (y, mean, variance))
        ctx.options = options
        ctx.save_for_backward(x, gamma, beta, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x, gamma, beta, mean, variance = ctx.saved_tensors
        virtual_batch, axis, epsilon = ctx.options
        # A second derivative is wanted, in reverse or in forward mode.
        if torch.is_grad_enabled() or _has_tangent(dy):
            return *_differentiable((x, gamma, beta), ctx.options, dy), None, None, None
        walk = Walk(x, virtual_batch, axis)
        dx = _empty_like(walk.x)
        root = inverse_deviation(variance, epsilon)
        dgamma, dbeta = walk.statistics(), walk.statistics()
        _form(walk).differentiate(walk, gamma, mean, root, dy, (dx, dgamma, dbeta))
        return dx, dgamma.sum(0), dbeta.sum(0), None, None, None


def _form(walk: Walk) -> ModuleType:
    return kernel if kernel.suits(walk) else tiles


def _empty_like(x: Tensor) -> Tensor:
    """Memory for an output."""
    y = torch.empty_like(x)
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
