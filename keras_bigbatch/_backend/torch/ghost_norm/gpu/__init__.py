"""Ghost batch norm on PyTorch with kernels for GPUs, in Triton, which torch's GPU builds include.

A pass over the input is one kernel, whatever the groups' number and size: they are cut into parts,
so that a few large groups keep a GPU busy too.
"""

import math
from typing import Any, NamedTuple

import torch

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.torch.ghost_norm.gpu import backward, forward, moving
from keras_bigbatch._backend.torch.ghost_norm.tiles import Walk
from keras_bigbatch._typing import Tensor

# Elements of a tile; channels that lie beside each other in one; as many programs as keep any GPU
# busy; and the most rows of a tile whose rows are parts or groups.
_TILE, _CHANNELS, _PROGRAMS, _ROWS = 2048, 64, 1024, 128


class Cut(NamedTuple):
    """How the kernels see the input (`places`), and the blocks that their programs take."""

    outer: int
    channels: int
    inner: int
    size: int
    groups: int
    parts: int
    rows: int
    columns: int
    wide: int

    @property
    def tile(self) -> dict[str, int]:
        names = ("block_outer", "block_channels", "block_inner")
        return dict(zip(names, self[6:], strict=True))

    def launch(self, kernel: Any, *arguments: Any) -> None:
        """A kernel that goes through the input."""
        grid = self.groups * self.parts, -(-self.channels // self.columns)
        kernel[grid](*arguments, *self[:6], **self.tile)

    def launch_by_group(self, kernel: Any, *arguments: Any) -> None:
        """A kernel that goes through what there is of each part."""
        tile = small_tile(self.parts, self.channels)
        grid = self.groups, -(-self.channels // tile["block_channels"])
        kernel[grid](*arguments, *self[:6], **tile)


def cut(outer: int, channels: int, inner: int, size: int, groups: int) -> Cut:
    """Parts have a tile's rows at least, and there are no more than are of use."""
    least = min(size, outer)
    wide = _power(inner, _TILE)
    columns = _power(channels, _CHANNELS if inner == 1 else _TILE // wide)
    rows = _power(least, _TILE // (wide * columns))
    columns = _power(channels, _TILE // (wide * rows))
    enough = -(-_PROGRAMS // (groups * -(-channels // columns)))
    parts = max(1, min(enough, least // rows))
    return Cut(outer, channels, inner, size, groups, parts, rows, columns, wide)


def small_tile(rows: int, channels: int) -> dict[str, int]:
    """Of a kernel that goes through rows which are parts or groups."""
    rows = _power(rows, _ROWS)
    return {"block_rows": rows, "block_channels": _power(channels, _TILE // rows)}


def _power(number: int, most: int) -> int:
    """The least power of 2 that is no less than the number, but `most` at most."""
    return min(1 << (number - 1).bit_length(), most)


def try_out(device: str) -> None:
    """Raises what Triton raises if it cannot compile and run a kernel there."""
    old = torch.zeros(1, device=device), torch.ones(1, device=device)
    moved(old, GhostMoments(*torch.ones(3, 1, 1, device=device)), 0.9, "sequential")


def normalize(
    walk: Walk, gamma: Tensor, beta: Tensor, epsilon: float, outputs: tuple[Tensor, ...]
) -> None:
    """As `tiles.normalize`."""
    y, count, mean, variance = outputs
    gamma, beta = gamma.contiguous(), beta.contiguous()  # as all that a kernel gets
    lost, blocks = walk.statistics(), cut(*walk.in_memory())
    parts = lost.new_empty((3, blocks.parts, *lost.shape))
    with torch.cuda.device_of(walk.x):
        blocks.launch(forward.part_moments, walk.x, parts)
        blocks.launch_by_group(forward.group_moments, parts, count, mean, lost, variance)
        moments = mean, lost, variance
        blocks.launch(forward.normalized, walk.x, y, *moments, gamma, beta, epsilon)


def differentiate(
    walk: Walk,
    gamma: Tensor,
    moments: tuple[Tensor, Tensor],
    epsilon: float,
    dy: Tensor,
    outputs: tuple[Tensor, Tensor],
) -> None:
    """As `tiles.differentiate`."""
    dx, sums = outputs
    blocks = cut(*walk.in_memory())
    dy, gamma = walk.view(dy), gamma.contiguous()
    groups, channels = sums.shape[1:]
    parts = sums.new_empty((2, groups, blocks.parts, channels)) if blocks.parts > 1 else sums
    with torch.cuda.device_of(walk.x):
        blocks.launch(backward.part_gradients, walk.x, dy, *moments, parts, epsilon)
        if blocks.parts > 1:
            torch.sum(parts, 2, out=sums)
        blocks.launch(backward.input_gradient, walk.x, dy, dx, *moments, gamma, sums, epsilon)


@torch.no_grad()
def moved(
    old: tuple[Tensor, Tensor], moments: GhostMoments, momentum: float, statistics: str
) -> tuple[Tensor, Tensor]:
    """The moving statistics after the step of one device."""
    new = [torch.empty_like(each) for each in old]
    count, mean, variance, *was = (each.contiguous() for each in (*moments, *old))
    groups, channels = mean.shape
    numbers = 1.0 - momentum, math.log(max(momentum, 1e-38)), groups, channels
    kinds = {"sequential": statistics == "sequential", "by_elements": statistics == "batch"}
    tile = small_tile(groups, channels)
    tensors = count, mean, variance, variance.amax(1), *was, *new
    with torch.cuda.device_of(mean):
        moving.moved[-(-channels // tile["block_channels"]),](*tensors, *numbers, **kinds, **tile)
    return new[0], new[1]
