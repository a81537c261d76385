"""The kernels for feature vectors on TPU: one pass over the input forward, and one backward.

XLA moves the reshape from [G, V, C] to [B, C] through the multiply-add and writes the groups'
values out for each sample: several arrays of the input's size. A kernel holds a few groups in the
core's fast memory instead, and takes the groups apart by slices, whatever their size is.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from keras_bigbatch._backend.reference.ghost_norm import inverse_deviation
from keras_bigbatch._typing import Tensor

# Numbers of a block: where few do not pay for a step of the grid, and where the fast memory that
# the compiler gives a kernel by itself ends. Beyond, it is asked for as many bytes each.
_NUMBERS, _BYTES = 2**18, 48
# Rows of a tile in half precision, and columns of a tile; blocks have whole ones.
_TILE_ROWS, _TILE_COLUMNS = 16, 128
# Each group of a block is compiled by itself.
_MOST_GROUPS = 128


class Blocks(NamedTuple):
    """How the input is cut: a block has rows and columns, and as many blocks follow each other."""

    rows: int
    width: int
    groups: int
    number: int


def blocks(batch: int, channels: int, virtual_batch: int, fast_memory: int) -> Blocks | None:
    """Blocks of whole groups, None if there are none that fit."""
    total = max(batch // virtual_batch, 1)
    # Groups that fill whole tiles of rows, and the rows that a block has at least.
    unit = math.lcm(virtual_batch, _TILE_ROWS) // virtual_batch
    least = batch if total == 1 else min(unit * virtual_batch, batch)
    width = _width(channels, least)
    best = unit * max(1, min(_NUMBERS // (least * _padded(width)), _MOST_GROUPS // unit))
    # The tail belongs to the last group: there must be room for it in that group's block.
    candidates = chain(range(best, 0, -unit), range(best + unit, total + 2 * unit, unit))
    tail = batch % virtual_batch
    groups = next(each for each in candidates if not tail or total % each)
    if groups >= total:
        cut = Blocks(batch, width, total, 1)
    else:
        cut = Blocks(groups * virtual_batch, width, groups, -(-total // groups))
    return cut if cut.rows * _padded(width) * _BYTES <= fast_memory * 3 // 4 else None


def _width(channels: int, rows: int) -> int:
    """Channels of a block, of which the last may be less than full.

    Two blocks or more where there are channels enough: some chips have two cores.
    """
    if channels <= _TILE_COLUMNS:
        return channels
    width = 8 * _TILE_COLUMNS
    while width > _TILE_COLUMNS and (
        channels % width or channels == width or rows * width > _NUMBERS
    ):
        width //= 2
    return width


def _padded(width: int) -> int:
    """Columns that a block has in the fast memory."""
    return -(-width // _TILE_COLUMNS) * _TILE_COLUMNS


def forward(
    x: Tensor, gamma: Tensor, beta: Tensor, virtual_batch: int, epsilon: float, cut: Blocks
) -> tuple[Tensor, Tensor, Tensor]:
    """The output in x's own type, and the groups' means and variances, [G, C] in float32.

    Args:
        x: [B, C], in float32 or bfloat16.
        gamma: [C] in float32.
        beta: Likewise.
        virtual_batch: Samples in a group; the tail joins the last.
        epsilon: Added to the variance inside the root.
        cut: The blocks.
    """
    batch, channels = x.shape
    block, groups, row = _specs(cut)
    moments = jax.ShapeDtypeStruct((cut.number, cut.groups, channels), jnp.float32)
    outputs, mean, variance = pl.pallas_call(
        partial(_forward_block, slices=_slices(batch, virtual_batch, cut), epsilon=epsilon),
        grid=_grid(channels, cut),
        in_specs=[block, row, row],
        out_specs=[block, groups, groups],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype), moments, moments],
        compiler_params=_parameters(cut, "parallel"),
    )(x, gamma[None], beta[None])
    total = max(batch // virtual_batch, 1)
    return outputs, mean.reshape(-1, channels)[:total], variance.reshape(-1, channels)[:total]


def backward(
    dy: Tensor, x: Tensor, gamma: Tensor, virtual_batch: int, epsilon: float, cut: Blocks
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to x, in its own type, and to gamma and beta.

    The moments are computed once more: x is read anyway, and so they are not rounded.
    """
    batch, channels = x.shape
    block, _, row = _specs(cut)
    sums = jax.ShapeDtypeStruct((1, channels), jnp.float32)
    dx, dgamma, dbeta = pl.pallas_call(
        partial(_backward_block, slices=_slices(batch, virtual_batch, cut), epsilon=epsilon),
        grid=_grid(channels, cut),
        in_specs=[block, block, row],
        out_specs=[block, row, row],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype), sums, sums],
        compiler_params=_parameters(cut, "arbitrary"),
    )(dy, x, gamma[None])
    return dx, dgamma[0], dbeta[0]


def _specs(cut: Blocks) -> tuple[pl.BlockSpec, pl.BlockSpec, pl.BlockSpec]:
    """Of samples, of groups, and of what all groups share."""
    # Python's would be of 64 bits where JAX is told to use them, which no kernel takes.
    zero = np.int32(0)
    return (
        pl.BlockSpec((cut.rows, cut.width), lambda column, i: (i, column)),
        pl.BlockSpec((None, cut.groups, cut.width), lambda column, i: (i, zero, column)),
        pl.BlockSpec((1, cut.width), lambda column, _: (zero, column)),
    )


def _grid(channels: int, cut: Blocks) -> tuple[int, int]:
    return pl.cdiv(channels, cut.width), cut.number


def _parameters(cut: Blocks, order: Any) -> Any:
    numbers = cut.rows * _padded(cut.width)
    return pltpu.CompilerParams(
        dimension_semantics=("parallel", order),
        vmem_limit_bytes=numbers * _BYTES if numbers > _NUMBERS else None,
    )


def _slices(batch: int, virtual_batch: int, cut: Blocks) -> tuple[list[slice], list[slice]]:
    """The groups of every block but the last, and of the last, as rows of the block."""
    starts = range(0, cut.groups * virtual_batch, virtual_batch)
    every = [slice(start, start + virtual_batch) for start in starts]
    before = (cut.number - 1) * cut.groups
    *last, end = every[: max(batch // virtual_batch, 1) - before]
    return every, [*last, slice(end.start, batch - before * virtual_batch)]


def _in_each_block(slices: tuple[list[slice], list[slice]], body: Callable[..., None]) -> None:
    every, last = slices
    if every == last:
        body(every)
        return
    i, end = pl.program_id(1), pl.num_programs(1) - 1
    pl.when(i < end)(partial(body, every))
    pl.when(i == end)(partial(body, last))


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of a group [n, C] its mean, its deviations from it, and its variance.

    By differences from its first sample: all 0 if it is constant, and so are the deviations.
    """
    first = x[:1]
    differences = x - first
    shift = jnp.sum(differences, axis=0, keepdims=True) / x.shape[0]
    deviations = differences - shift
    variance = jnp.sum(jnp.square(deviations), axis=0, keepdims=True) / x.shape[0]
    return first + shift, deviations, variance


def _forward_block(
    x: Any, gamma: Any, beta: Any, y: Any, mean: Any, variance: Any, *, slices: Any, epsilon: float
) -> None:
    def body(groups: list[slice]) -> None:
        for n, rows in enumerate(groups):
            center, deviations, spread = _moments(x[rows].astype(jnp.float32))
            scale = inverse_deviation(spread, epsilon) * gamma[...]
            y[rows] = (deviations * scale + beta[...]).astype(y.dtype)
            mean[n : n + 1], variance[n : n + 1] = center, spread

    _in_each_block(slices, body)


def _backward_block(
    dy: Any, x: Any, gamma: Any, dx: Any, dgamma: Any, dbeta: Any, *, slices: Any, epsilon: float
) -> None:
    """`dx = gamma / s * (dy - mean(dy) - h * mean(dy * h))` in each group, h its normalized x."""

    def body(groups: list[slice]) -> None:
        for rows in groups:
            _, deviations, spread = _moments(x[rows].astype(jnp.float32))
            upstream = dy[rows].astype(jnp.float32)
            inverse = inverse_deviation(spread, epsilon)
            normalized = deviations * inverse
            total = jnp.sum(upstream, axis=0, keepdims=True)
            along = jnp.sum(upstream * normalized, axis=0, keepdims=True)
            size = upstream.shape[0]
            inner = upstream - total / size - normalized * (along / size)
            dx[rows] = (inverse * gamma[...] * inner).astype(dx.dtype)
            dgamma[...] += along
            dbeta[...] += total

    @pl.when(pl.program_id(1) == 0)
    def _() -> None:
        dgamma[...], dbeta[...] = jnp.zeros_like(dgamma), jnp.zeros_like(dbeta)

    _in_each_block(slices, body)
