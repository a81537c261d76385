"""What the GPU kernels share: how they see the memory of the input, and sums over it.

It is [outer, channels, inner]: channels last `outer` are the positions of all samples and `inner`
is 1, channels first they are the samples and the positions of each. A group is `size` of `outer`,
the last one all up to the end. A program has one of the `parts` of a group and a block of channels,
and goes through it in tiles [block_outer, block_channels, block_inner].
"""

import triton
import triton.language as tl

# A number that is 1 would be a constant, which has no type to convert.
NUMBERS = {"do_not_specialize": ["outer", "size", "groups", "parts"]}


@triton.jit
def part_of(part, outer, size, groups, parts):
    """The group, the elements of `outer` that a part has, and how many the group has."""
    group = (part // parts).to(tl.int64)
    rows = tl.where(group == groups - 1, outer - group * size, size)
    number = part % parts
    begin = group * size + rows * number // parts
    return group, begin, group * size + rows * (number + 1) // parts, rows


@triton.jit
def channels_of(channels, block_channels: tl.constexpr):
    """The program's channels, and which of them there are."""
    c = tl.program_id(1) * block_channels + tl.arange(0, block_channels)
    return c, c < channels


@triton.jit
def normalizer(mean, variance, group, channels, epsilon, block_channels: tl.constexpr):
    """The channels, which there are, where a group's values of them are, its mean and root."""
    c, exists = channels_of(channels, block_channels)
    place = group * channels + c
    middle = tl.load(mean + place, mask=exists, other=0.0)
    root = inverse_deviation(tl.load(variance + place, mask=exists, other=1.0), epsilon)
    return c, exists, place, middle, root


@triton.jit
def tile(o, c, i, stop, channels, inner, block_outer: tl.constexpr, block_inner: tl.constexpr):
    """Where the tile at o and i begins, where in it its elements are, and which there are."""
    rows, i = tl.arange(0, block_outer), i + tl.arange(0, block_inner)
    # The first alone has 64 bits, of which a tile of places would fill the registers.
    places = (rows * channels * inner)[:, None, None] + (c * inner)[None, :, None]
    exist = (rows < stop - o)[:, None, None] & (c < channels)[None, :, None]
    return o * channels * inner, places + i[None, None, :], exist & (i < inner)[None, None, :]


@triton.jit
def load(x, start, places, exist):
    """A tile in float32, 0 where there is nothing."""
    return tl.load(x + start + places, mask=exist, other=0.0).to(tl.float32)


@triton.jit
def wide(values):
    """[block_channels] for a tile."""
    return values[None, :, None]


@triton.jit
def summed(tile):
    """A tile to [block_channels]."""
    return tl.sum(tl.sum(tile, 2), 0)


@triton.jit
def inverse_deviation(variance, epsilon):
    """As the reference's."""
    return tl.rsqrt(variance + epsilon) + (variance - variance)
