"""Ghost batch norm's backward pass as Triton kernels for GPUs: two passes over x and dy."""

import triton
import triton.language as tl

from keras_bigbatch._backend.torch.ghost_norm.gpu.places import (
    NUMBERS,
    load,
    normalizer,
    part_of,
    summed,
    tile,
    wide,
)


@triton.jit(**NUMBERS)
def part_gradients(
    x,
    dy,
    mean,
    variance,
    sums,
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
    """Writes [2, groups * parts, channels]: what each part adds to the gradients of gamma, beta."""
    part = tl.program_id(0)
    group, begin, stop, _ = part_of(part, outer, size, groups, parts)
    norm = normalizer(mean, variance, group, channels, epsilon, block_channels)
    c, exists, place, middle, root = norm
    products = tl.zeros((block_outer, block_channels, block_inner), tl.float32)
    slopes = tl.zeros((block_outer, block_channels, block_inner), tl.float32)
    for o in range(begin, stop, block_outer):
        for i in range(0, inner, block_inner):
            start, places, exist = tile(o, c, i, stop, channels, inner, block_outer, block_inner)
            d = load(x, start, places, exist) - wide(middle)
            slope = load(dy, start, places, exist)
            products += tl.where(exist, d * slope, 0.0)
            slopes += slope
    place = sums + part.to(tl.int64) * channels + c
    plane = tl.num_programs(0).to(tl.int64) * channels
    tl.store(place, summed(products) * root, mask=exists)
    tl.store(place + plane, summed(slopes), mask=exists)


@triton.jit(**NUMBERS)
def input_gradient(
    x,
    dy,
    dx,
    mean,
    variance,
    gamma,
    sums,
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
    """Writes `dx = gamma * root * (dy - mean(dy) - z * mean(dy * z))`, `z = (x - mean) * root`.

    From the groups' sums [2, groups, channels] of `part_gradients`.
    """
    group, begin, stop, rows = part_of(tl.program_id(0), outer, size, groups, parts)
    norm = normalizer(mean, variance, group, channels, epsilon, block_channels)
    c, exists, place, middle, root = norm
    plane = groups.to(tl.int64) * channels
    elements = (rows * inner).to(tl.float32)
    steep = root * tl.load(sums + place, mask=exists, other=0.0) / elements
    level = tl.load(sums + plane + place, mask=exists, other=0.0) / elements
    scale = root * tl.load(gamma + c, mask=exists, other=0.0)
    for o in range(begin, stop, block_outer):
        for i in range(0, inner, block_inner):
            start, places, exist = tile(o, c, i, stop, channels, inner, block_outer, block_inner)
            d = load(x, start, places, exist) - wide(middle)
            slope = load(dy, start, places, exist)
            values = (slope - wide(level) - d * wide(steep)) * wide(scale)
            tl.store(dx + start + places, values.to(dx.dtype.element_ty), mask=exist)
