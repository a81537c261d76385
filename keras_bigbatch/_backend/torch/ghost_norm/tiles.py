"""Ghost batch norm on PyTorch, one tile at a time, where a tile fits in the cache."""

import itertools
from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch

from keras_bigbatch._typing import Tensor

# Elements of a tile, for each thread: half a megabyte of float32, which a core's cache holds beside
# the other operands. A tile is a sample at least, channels first.
_TILE = 2**17


class Walk:
    """The tiles of an input, as [groups, n, C(, p)].

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
        self._spare: dict[tuple[int, torch.Size], Tensor] = {}

    def blocks(
        self, tensors: tuple[Tensor, ...], statistics: tuple[Tensor, ...]
    ) -> Iterator[tuple[Any, ...]]:
        """Some groups at a time: x, tiles of the tensors, and statistics that broadcast to them.

        The tiles are either one, of several groups, or one or more of a single group.
        """
        views = [self.view(tensor) for tensor in tensors]
        shape = views[0].shape[1 if not self._last else 2 :]
        beside = [values.view(-1, 1, *shape[:1], *[1] * (len(shape) - 1)) for values in statistics]
        tile = _TILE * torch.get_num_threads()
        many = max(1, tile // (self._group * self.x[0].numel()))
        rows = max(1, tile // shape.numel())
        # The last group stands alone if it is of another size.
        even = self._groups if self._groups * self._group == self._batch else self._groups - 1
        bounds = [*range(0, even, many), *range(even, self._groups), self._groups]
        for first, stop in itertools.pairwise(bounds):
            end = self._batch if stop == self._groups else stop * self._group
            block = [v[first * self._group : end].view(stop - first, -1, *shape) for v in views]
            tiles = [tuple(block)]
            if stop - first == 1 and block[0].shape[1] > rows:
                tiles = list(zip(*(tensor.split(rows, 1) for tensor in block), strict=True))
            yield block[0], tiles, *(values[first:stop] for values in beside)

    def groups(self, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """The groups of the tensors, each as [n, C] or [samples, C, p]."""
        cuts = list(range(self._group, self._groups * self._group, self._group))
        parts = (self.view(tensor).tensor_split(cuts) for tensor in tensors)
        for group in zip(*parts, strict=True):
            yield tuple(tensor.flatten(0, 1) for tensor in group) if self._last else group

    def view(self, tensor: Tensor) -> Tensor:
        """The tensor as x is seen, copied if it lies in memory otherwise."""
        if self._last:
            return tensor.movedim(self._axis, -1).contiguous().view(self._batch, -1, self.channels)
        return tensor.movedim(self._axis, 1).contiguous().view(self._batch, self.channels, -1)

    def centre(self, block: Tensor) -> Tensor:
        """A value near the mean of each group; if the group is constant, that value exactly.

        The mean of a 32nd of the group: of every 32nd row, or of the first positions of a sample.
        Of k in n elements it is off by no more deviations than the root of n / k, so little is lost
        by a correction. Summed are the differences from the first element, all 0 if the group is
        constant: a sum of equal numbers, divided by how many they are, need not be that number.
        """
        some = block[:, ::32] if self._last else block[..., : -(-block.shape[3] // 32)]
        first = (some[:, :1] if self._last else some[:, :1, :, :1]).float()
        if self._last and some.shape[1] == 1:
            return first
        d = torch.sub(self.load(some, 0), first, out=self.workspace(some, 0))
        return torch.add(first, self.sum(d), alpha=1 / self.size(some))

    def centred(self, tile: Tensor, centre: Tensor, out: Tensor) -> Tensor:
        """`tile - centre`, in `out` if that is float32."""
        return torch.sub(self.load(tile, 0), centre, out=self.float32(out))

    def moments(
        self, tiles: list[tuple[Tensor, Tensor]], centre: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        """Writes the mean and the biased variance of the groups that the tiles of x are.

        From the differences from a value near the mean, which are left in the tiles of y if those
        are float32 (Chan, Golub & LeVeque, 1983).

        Returns:
            The mean less the centre.
        """
        sums, squares = [], []
        for xt, yt in tiles:
            d = self.centred(xt, centre, yt)
            sums.append(self.sum(d))
            squares.append(self.sum(torch.mul(d, d, out=self.workspace(xt, 1))))
        per_element = 1 / self.size(*(xt for xt, _ in tiles))
        shift = reduce(torch.add, sums).mul_(per_element)
        torch.add(centre, shift, out=mean)
        torch.mul(reduce(torch.add, squares), per_element, out=variance)
        variance.addcmul_(shift, shift, value=-1).clamp_(min=0)
        return shift

    def sum(self, tile: Tensor) -> Tensor:
        if self._last or tile.shape[3] < 128:  # over few positions torch's sums are slow
            rows = tile.sum(1, keepdim=True)
            return rows if self._last else rows.sum(3, keepdim=True)
        return tile.sum((1, 3), keepdim=True)

    def size(self, *tiles: Tensor) -> int:
        """Elements of a channel, of each group."""
        return sum(tile[0].numel() for tile in tiles) // self.channels

    def largest_group(self) -> int:
        """Elements of the last group, which the tail is merged into."""
        return (self._batch - (self._groups - 1) * self._group) * self.x[0].numel()

    def in_memory(self) -> tuple[int, int, int, int, int]:
        """The input's memory as [outer, channels, inner], a group's size in `outer`, and groups."""
        positions = self.x[0].numel() // self.channels
        outer, inner = (positions, 1) if self._last else (1, positions)
        return self._batch * outer, self.channels, inner, self._group * outer, self._groups

    def statistics(self, *number: int) -> Tensor:
        """Memory for a value of each group and channel, or for so many."""
        shape = (*number, self._groups, self.channels)
        return torch.empty(shape, dtype=torch.float32, device=self.x.device)

    def write_sizes(self, count: Tensor) -> None:
        """Elements of a channel in each group, [G, 1]."""
        count.fill_(self._group * self.x[0].numel() // self.channels)
        count[-1] = self.largest_group() // self.channels

    def per_channel(self, weights: Tensor) -> Tensor:
        return weights if self._last else weights[:, None]

    def affine(self, tile: Tensor, scale: Tensor, offset: Tensor, out: Tensor) -> Tensor:
        """`tile * scale + offset`, in `out` if that is float32."""
        out = self.float32(out)
        if self._last:
            return torch.addcmul(offset, tile, scale, out=out)
        # `addcmul` is not vectorized over two operands that are one value for all positions.
        return torch.mul(tile, scale, out=out).add_(offset)

    def float32(self, out: Tensor) -> Tensor:
        """`out` itself if it is float32, else the workspace 0."""
        return out if out.dtype == torch.float32 else self.workspace(out, 0)

    def workspace(self, tile: Tensor, number: int) -> Tensor:
        """Float32 memory of the tile's shape."""
        key = number, tile.shape
        if key not in self._spare:
            self._spare[key] = torch.empty(tile.shape, dtype=torch.float32)
        return self._spare[key]

    def load(self, tile: Tensor, number: int) -> Tensor:
        """The tile in float32: itself, or a copy in the workspace of that number.

        Half precision is not left to the operations, of which each would convert it on its own, and
        slowly. What is worked out from the copy may take its place.
        """
        return tile if tile.dtype == torch.float32 else self.workspace(tile, number).copy_(tile)

    @staticmethod
    def store(values: Tensor, tile: Tensor) -> None:
        if values.dtype != tile.dtype:
            tile.copy_(values)


def normalize(
    walk: Walk, gamma: Tensor, beta: Tensor, epsilon: float, outputs: tuple[Tensor, ...]
) -> None:
    """Writes y, and each group's elements of a channel, mean and variance."""
    y, count, mean, variance = outputs
    walk.write_sizes(count)
    for block, tiles, m, v in walk.blocks((walk.x, y), (mean, variance)):
        centre = walk.centre(block)
        shift = walk.moments(tiles, centre, m, v)
        scale = inverse_deviation(v, epsilon).mul_(walk.per_channel(gamma))
        # About the centre: folded into the offset, it would leave a rounding of its own size.
        offset = torch.addcmul(walk.per_channel(beta), shift, scale, value=-1)
        for xt, yt in reversed(tiles):  # what was read last is still in the cache
            d = walk.float32(yt)
            if d is not yt and xt is not tiles[-1][0]:  # The workspace holds the last tile alone.
                walk.centred(xt, centre, yt)
            walk.store(walk.affine(d, scale, offset, yt), yt)


def differentiate(
    walk: Walk,
    gamma: Tensor,
    moments: tuple[Tensor, Tensor],
    epsilon: float,
    dy: Tensor,
    outputs: tuple[Tensor, Tensor],
) -> None:
    """Writes dx, and [2, G, C] what each group adds to the gradients of gamma and beta.

    From the groups' means and variances.
    """
    dx, sums = outputs
    mean, variance = moments
    statistics = (mean, inverse_deviation(variance, epsilon), *sums)
    for _, tiles, m, r, dgammag, dbetag in walk.blocks((walk.x, dy, dx), statistics):
        products, sums = [], []
        for xt, dyt, _ in tiles:
            d = torch.sub(walk.load(xt, 0), m, out=walk.workspace(xt, 0))
            dyt = walk.load(dyt, 1)
            products.append(walk.sum(d.mul_(dyt)))
            sums.append(walk.sum(dyt))
        torch.mul(reduce(torch.add, products), r, out=dgammag)
        dbetag.copy_(reduce(torch.add, sums))
        # dx = scale * (dy - sum(dy) / n - d * r * sum(dy * d * r) / n)
        scale = r * walk.per_channel(gamma)
        minus_scale_over_n = scale / -walk.size(*(xt for xt, *_ in tiles))
        slope = dgammag * minus_scale_over_n * r
        offset = torch.addcmul(dbetag * minus_scale_over_n, m, slope, value=-1)
        for xt, dyt, dxt in reversed(tiles):
            d = walk.affine(walk.load(xt, 0), slope, offset, dxt)
            walk.store(d.addcmul_(walk.load(dyt, 1), scale), dxt)


def inverse_deviation(variance: Tensor, epsilon: float) -> Tensor:
    """As the reference's; this takes fewer operations."""
    return torch.rsqrt(variance + epsilon).add_(variance - variance)  # 0, or NaN of what overflowed
