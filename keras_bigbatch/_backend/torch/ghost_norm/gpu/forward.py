"""Ghost batch norm's forward pass as Triton kernels for GPUs: two passes over the input."""

import triton
import triton.language as tl

from keras_bigbatch._backend.torch.ghost_norm.gpu.places import (
    NUMBERS,
    channels_of,
    load,
    normalizer,
    part_of,
    summed,
    tile,
    wide,
)


@triton.jit(**NUMBERS)
def part_moments(
    x,
    moments,
    outer,
    channels,
    inner,
    size,
    groups,
    parts,
    block_outer: tl.constexpr,
    block_channels: tl.constexpr,
    block_inner: tl.constexpr,
):
    """Writes [3, groups * parts, channels] of the parts.

    A value near the mean, the mean less it, and the sum of the squared deviations. If a part is
    constant, the first is its value exactly and the others are 0.
    """
    part = tl.program_id(0)
    _, begin, stop, _ = part_of(part, outer, size, groups, parts)
    c, exists = channels_of(channels, block_channels)
    element = tl.load(x + (begin * channels + c) * inner, mask=exists, other=0.0).to(tl.float32)
    start, places, exist = tile(begin, c, 0, stop, channels, inner, block_outer, block_inner)
    d = load(x, start, places, exist) - wide(element)
    some = tl.minimum(stop - begin, block_outer) * tl.minimum(inner, block_inner)
    centre = element + summed(tl.where(exist, d, 0.0)) / some.to(tl.float32)

    sums = tl.zeros((block_outer, block_channels, block_inner), tl.float32)
    squares = tl.zeros((block_outer, block_channels, block_inner), tl.float32)
    for o in range(begin, stop, block_outer):
        for i in range(0, inner, block_inner):
            start, places, exist = tile(o, c, i, stop, channels, inner, block_outer, block_inner)
            d = load(x, start, places, exist) - wide(centre)
            d = tl.where(exist, d, 0.0)
            sums += d
            squares += d * d
    elements = ((stop - begin) * inner).to(tl.float32)
    shift = summed(sums) / elements
    place = moments + part.to(tl.int64) * channels + c
    plane = tl.num_programs(0).to(tl.int64) * channels
    tl.store(place, centre, mask=exists)
    tl.store(place + plane, shift, mask=exists)
    tl.store(place + 2 * plane, summed(squares) - elements * shift * shift, mask=exists)


@triton.jit
def _parts_tile(p, c, group, rows, parts, channels, inner, block_rows: tl.constexpr):
    """From part p on: where their moments are, which there are, and how many elements each has."""
    p += tl.arange(0, block_rows)
    places = ((group * parts + p) * channels)[:, None] + c[None, :]
    exist = (p < parts)[:, None] & (c < channels)[None, :]
    elements = (rows * (p + 1) // parts - rows * p // parts) * inner
    return places, exist, elements.to(tl.float32)[:, None]


@triton.jit(**NUMBERS)
def group_moments(
    moments,
    count,
    mean,
    lost,
    variance,
    outer,
    channels,
    inner,
    size,
    groups,
    parts,
    block_rows: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Writes the groups' elements [groups] and moments [groups, channels], from the parts'.

    The moments are the mean, what its rounding has lost, and the variance (Chan, Golub & LeVeque,
    1983).
    """
    group, _, _, rows = part_of(tl.program_id(0) * parts, outer, size, groups, parts)
    c, exists = channels_of(channels, block_channels)
    plane = groups.to(tl.int64) * parts * channels
    elements = (rows * inner).to(tl.float32)
    centre = tl.load(moments + group * parts * channels + c, mask=exists, other=0.0)

    sums = tl.zeros((block_rows, block_channels), tl.float32)
    for p in range(0, parts, block_rows):
        places, exist, weight = _parts_tile(p, c, group, rows, parts, channels, inner, block_rows)
        d = tl.load(moments + places, mask=exist, other=0.0) - centre[None, :]
        d += tl.load(moments + plane + places, mask=exist, other=0.0)
        sums += tl.where(exist, d * weight, 0.0)
    shift = tl.sum(sums, 0) / elements

    squares = tl.zeros((block_rows, block_channels), tl.float32)
    for p in range(0, parts, block_rows):
        places, exist, weight = _parts_tile(p, c, group, rows, parts, channels, inner, block_rows)
        d = tl.load(moments + places, mask=exist, other=0.0) - centre[None, :] - shift[None, :]
        d += tl.load(moments + plane + places, mask=exist, other=0.0)
        squares += tl.where(exist, d * d * weight, 0.0)
        squares += tl.load(moments + 2 * plane + places, mask=exist, other=0.0)
    spread = tl.sum(squares, 0) / elements

    rounded = centre + shift
    apart = rounded - centre  # Knuth's sum of two numbers in two
    rest = (centre - (rounded - apart)) + (shift - apart)
    place = group * channels + c
    tl.store(mean + place, rounded, mask=exists)
    tl.store(lost + place, rest, mask=exists)
    tl.store(variance + place, tl.where(spread < 0, 0.0, spread), mask=exists)  # a NaN stays
    tl.store(count + group, elements)


@triton.jit(**NUMBERS)
def normalized(
    x,
    y,
    mean,
    lost,
    variance,
    gamma,
    beta,
    epsilon,
    outer,
    channels,
    inner,
    size,
    groups,
    parts,
    block_outer: tl.constexpr,
    block_channels: tl.constexpr,
    block_inner: tl.constexpr,
):
    """Writes y, by the groups' moments."""
    group, begin, stop, _ = part_of(tl.program_id(0), outer, size, groups, parts)
    norm = normalizer(mean, variance, group, channels, epsilon, block_channels)
    c, exists, place, middle, root = norm
    scale = root * tl.load(gamma + c, mask=exists, other=0.0)
    offset = tl.load(beta + c, mask=exists, other=0.0)
    offset -= tl.load(lost + place, mask=exists, other=0.0) * scale
    for o in range(begin, stop, block_outer):
        for i in range(0, inner, block_inner):
            start, places, exist = tile(o, c, i, stop, channels, inner, block_outer, block_inner)
            d = load(x, start, places, exist) - wide(middle)
            values = d * wide(scale) + wide(offset)
            tl.store(y + start + places, values.to(y.dtype.element_ty), mask=exist)
