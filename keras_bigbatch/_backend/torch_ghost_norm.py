"""Ghost batch norm on PyTorch: a forward and a backward pass that stay in the cache.

Run as separate operations on a CPU, the time goes into full-size temporaries: every one is memory
that must be mapped, written and read back. This walks over tiles of whole groups that fit in the
cache, and writes into outputs that are allocated once. Nothing of full size but the input is kept
for the backward pass.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from keras_bigbatch._backend import ghost_norm
from keras_bigbatch._backend.ghost_norm import GhostMoments
from keras_bigbatch._typing import Tensor

# Elements of a tile, for each thread: a megabyte of float32, which a core's cache holds beside
# the other operands.
_TILE = 2**18


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, GhostMoments]:
    """As `ghost_norm.ghost_normalize`, in x's precision, by the walk where that is possible."""
    if mask is not None or not _is_plain(x):
        return ghost_norm.ghost_normalize(x, gamma, beta, virtual_batch, axis, epsilon, mask)
    channels = x.shape[axis]
    gamma = torch.ones(channels) if gamma is None else gamma
    beta = torch.zeros(channels) if beta is None else beta
    y, mean, variance = _GhostNorm.apply(x, gamma, beta, virtual_batch, axis, epsilon)
    count = ghost_norm.GhostGroups(x, virtual_batch, axis).sizes("float32")
    return y, GhostMoments(count, mean, variance)


def _is_plain(x: Tensor) -> bool:
    """Whether `x` is data in a CPU's memory, and not a stand-in that something traces with."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.numel() > 0
        and x.dtype in (torch.float32, torch.bfloat16, torch.float16)
        and type(x) in (torch.Tensor, torch.nn.Parameter)
        # Torch has no public word for "inside torch.func": its transforms cannot see the walk.
        and not torch._C._are_functorch_transforms_active()
    )


class _GhostNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, *options: Any) -> Any:
        virtual_batch, axis, epsilon = options
        walk = _Walk(x, virtual_batch, axis)
        y = torch.empty_like(walk.x)
        mean, variance = walk.statistics(), walk.statistics()
        for xt, yt, groups in walk.tiles(walk.x, y):
            xt = walk.load(xt, 0)
            m = walk.sum(xt).div_(walk.size(xt))
            d = torch.sub(xt, m, out=walk.workspace(yt, 0))
            v = walk.sum(torch.mul(d, d, out=walk.workspace(xt, 1))).div_(walk.size(xt))
            scale = torch.rsqrt(v + epsilon).mul_(walk.per_channel(gamma))
            walk.store(torch.addcmul(walk.per_channel(beta), d, scale, out=d), yt)
            mean[groups] = m.view(-1, walk.channels)
            variance[groups] = v.view(-1, walk.channels)
        ctx.options = options
        ctx.save_for_backward(x, gamma, beta, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x, gamma, beta, mean, variance = ctx.saved_tensors
        virtual_batch, axis, epsilon = ctx.options
        if torch.is_grad_enabled():  # a second derivative is wanted
            return *_differentiable((x, gamma, beta), ctx.options, dy), None, None, None
        walk = _Walk(x, virtual_batch, axis)
        dx = torch.empty_like(walk.x)
        dgamma, dbeta = walk.statistics(), walk.statistics()
        root = torch.rsqrt(variance + epsilon)
        for xt, dyt, dxt, groups in walk.tiles(walk.x, dy, dx):
            xt, dyt = walk.load(xt, 0), walk.load(dyt, 2)
            r = walk.per_group(root[groups])
            d = torch.sub(xt, walk.per_group(mean[groups]), out=walk.workspace(dxt, 0))
            s = torch.mul(d, dyt, out=walk.workspace(xt, 1))
            along, whole = walk.sum(s).mul_(r), walk.sum(dyt)
            # dx = scale * (dy - sum(dy) / n - d * r * sum(dy * d * r) / n)
            scale = r * walk.per_channel(gamma)
            share = scale / -walk.size(xt)
            torch.addcmul(whole * share, d, along * share * r, out=d)
            walk.store(d.addcmul_(dyt, scale), dxt)
            dgamma[groups] = along.view(-1, walk.channels)
            dbeta[groups] = whole.view(-1, walk.channels)
        return dx, dgamma.sum(0), dbeta.sum(0), None, None, None


def _differentiable(
    inputs: tuple[Tensor, ...], options: tuple[Any, ...], dy: Tensor
) -> list[Tensor | None]:
    """The gradients as operations that have gradients themselves, through the reference."""
    y, _ = ghost_norm.ghost_normalize(*inputs, *options)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    found = iter(torch.autograd.grad(y.to(dy.dtype), wanted, dy, create_graph=True))
    return [next(found) if tensor.requires_grad else None for tensor in inputs]


class _Walk:
    """The tiles of an input: whole groups, as many as fit in the cache, as [groups, n, C(, p)].

    Strides decide the walk. Channels-last memory is seen as [samples, positions, C], channels-first
    as [samples, C, positions]; any other is copied once.
    """

    def __init__(self, x: Tensor, virtual_batch: int, axis: int) -> None:
        self._last = x.movedim(axis, -1).is_contiguous()
        self._axis = axis
        if not (self._last or x.movedim(axis, 1).is_contiguous()):
            x = x.movedim(axis, -1).contiguous().movedim(-1, axis)
            self._last = True
        self.x = x
        self.channels = x.shape[axis]
        self._batch = x.shape[0]
        self._group = virtual_batch
        self._groups = max(self._batch // virtual_batch, 1)
        self._tile = _TILE * torch.get_num_threads()
        self._spare: dict[int, Tensor] = {}

    def tiles(self, *tensors: Tensor) -> Iterator[Any]:
        """The same tile of each tensor, and the slice of its groups."""
        views = [self._view(tensor) for tensor in tensors]
        last = self._groups - 1
        many = max(1, self._tile // (self._group * self.x[0].numel()))
        # The last group stands alone if it is of another size.
        even = self._groups if self._groups * self._group == self._batch else last
        bounds = [*range(0, even, many), *range(even, self._groups), self._groups]
        for first, stop in itertools.pairwise(bounds):
            start = first * self._group
            end = self._batch if stop == self._groups else stop * self._group
            rest = views[0].shape[1 if not self._last else 2 :]
            shape = (stop - first, -1, *rest)
            yield *(view[start:end].view(shape) for view in views), slice(first, stop)

    def _view(self, tensor: Tensor) -> Tensor:
        if self._last:
            return tensor.movedim(self._axis, -1).contiguous().view(self._batch, -1, self.channels)
        return tensor.movedim(self._axis, 1).contiguous().view(self._batch, self.channels, -1)

    def sum(self, tile: Tensor) -> Tensor:
        return tile.sum(1 if self._last else (1, 3), keepdim=True)

    def size(self, tile: Tensor) -> int:
        """Elements of a group, a channel."""
        return tile[0].numel() // self.channels

    def statistics(self) -> Tensor:
        return torch.empty(self._groups, self.channels)

    def per_group(self, statistics: Tensor) -> Tensor:
        return statistics[:, None, :] if self._last else statistics[:, None, :, None]

    def per_channel(self, weights: Tensor) -> Tensor:
        return weights if self._last else weights[:, None]

    def workspace(self, tile: Tensor, number: int) -> Tensor:
        """Float32 memory of the tile's shape: itself where it is an output of that type."""
        if number == 0 and tile.dtype == torch.float32:
            return tile
        if number not in self._spare or self._spare[number].numel() < tile.numel():
            self._spare[number] = torch.empty(tile.numel())
        return self._spare[number][: tile.numel()].view(tile.shape)

    def load(self, tile: Tensor, number: int) -> Tensor:
        """The tile in float32, converted once: operations on mixed types convert it each time."""
        return tile if tile.dtype == torch.float32 else self.workspace(tile, number).copy_(tile)

    @staticmethod
    def store(values: Tensor, tile: Tensor) -> None:
        if values.dtype != tile.dtype:
            tile.copy_(values)
