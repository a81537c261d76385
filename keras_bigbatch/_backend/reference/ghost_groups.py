"""The groups of a batch: how they are summed, and how their values reach the samples."""

import math
from collections.abc import Callable, Sequence

from keras import ops

from keras_bigbatch._typing import Tensor


class GhostGroups:
    """Contiguous groups of `virtual_batch` samples along axis 0, the tail merged into the last.

    The input is worked on in parts, which the values of their groups reach by plain broadcasting.
    Feature vectors [B, C] are cut: whole groups [G, V, C], and the tail [1, n, C]. With positions
    the one part is the input itself: there one value for each sample and channel is small, while
    cutting the input and putting it together again is not.

    Args:
        x: Input, the batch on axis 0. A size is an `int` where it is known, a scalar tensor in a
            TensorFlow graph that was traced for any.
        virtual_batch: Samples in a group. A smaller batch is one group.
        axis: The channels' axis, positive.
    """

    # Whether to cut the last group off even if it is known to be of the others' size. TensorFlow is
    # faster then; JAX would send activations around between devices that have whole groups each.
    cuts_known = False

    def __init__(self, x: Tensor, virtual_batch: int, axis: int) -> None:
        shape = ops.shape(x)
        self.axis = axis
        self.positions = tuple(i for i in range(1, len(shape)) if i != axis)
        self._per_sample: Tensor = 1
        for i in self.positions:
            self._per_sample = self._per_sample * shape[i]
        self._batch = shape[0]
        self._size = virtual_batch
        static = isinstance(self._batch, int)
        groups = self._batch // virtual_batch
        self.count = max(groups, 1) if static else ops.maximum(groups, 1)
        # Samples before the last group, the only one that may be of another size.
        self._head = (self.count - 1) * virtual_batch
        self._single = static and self.count == 1
        self._even = static and self._batch == self.count * virtual_batch
        self._uncut = bool(self.positions) or self._single

    def sizes(self, dtype: str) -> Tensor:
        """Elements of a channel in each group, [G, 1]."""
        last = ops.cast(self._batch - self._head, dtype)
        sizes = ops.full((self.count - 1, 1), float(self._size), dtype=dtype)
        sizes = ops.concatenate([sizes, ops.reshape(last, (1, 1))], axis=0)
        return sizes * ops.cast(self._per_sample, dtype)

    def split(self, x: Tensor) -> list[Tensor]:
        """The parts of the input, or of a mask of its rank."""
        if self._uncut:
            return [x]
        channels = x.shape[1]
        if self._even:
            return [ops.reshape(x, (self.count, self._size, channels))]
        cut = self.count * self._size
        head, tail = self._cut(x, cut)
        # -1, for a batch below `virtual_batch` that is not known to be so.
        return [ops.reshape(head, (self.count, -1, channels)), ops.expand_dims(tail, 0)]

    def sum(self, parts: list[Tensor]) -> Tensor:
        """Sums over the elements of each group: parts to [G, C]."""
        if self._uncut:
            return self._sum_rows(self._rows(parts[0]) if self.positions else parts[0])
        groups, *tail = (ops.sum(part, axis=1) for part in parts)
        # Padded, not added to the last group alone: that would put slices into the gradient, which
        # XLA takes anew for each element of the input.
        return groups + ops.pad(tail[0], ((self.count - 1, 0), (0, 0))) if tail else groups

    def sum_of(self, function: Callable[..., Tensor], *operands: Sequence[Tensor]) -> Tensor:
        """Sums of `function`, elementwise, of the same part of each operand."""
        return self.sum([function(*pieces) for pieces in zip(*operands, strict=True)])

    def centre(self, parts: list[Tensor], dtype: str) -> Tensor:
        """A value near each group's mean; if the group is constant, that value exactly: to [G, C].

        The parts may be in the input's own precision; what is made of them has the type `dtype`.

        The mean of a 32nd of the group: of the first positions of each sample, or of its first
        samples. Of k in n elements it is off by no more deviations than the root of n / k. Summed
        are the differences from an element of the group, all 0 if it is constant: a sum of equal
        numbers, divided by how many they are, need not be that number.
        """
        # Divided by what there should be, as there may be no samples or no positions.
        if self.positions:
            some = ops.cast(self._some(parts[0]), dtype)
            element = self._first(some)
            [(elements,)] = self.spread(element)
            taken, size = (
                ops.cast(ops.shape(part)[self.positions[0]], dtype) for part in (some, parts[0])
            )
            count = ops.maximum(self.sizes(dtype) * (taken / size), 1.0)
            return element + self._sum_rows(self._rows(some - elements)) / count
        part = ops.expand_dims(parts[0], 0) if self._uncut else parts[0]
        rows = -(-(self._batch if self._uncut else self._size) // 32)
        some = ops.cast(part[:, :rows], dtype)
        element = ops.sum(some[:, :1], axis=1)
        if rows == 1:
            return element
        differences = some - ops.expand_dims(element, 1)
        return element + ops.sum(differences, axis=1) / rows

    def centre_where(self, mask: list[Tensor], parts: list[Tensor], dtype: str) -> Tensor:
        """As `centre`, of what the mask leaves in; 0 of a group that is masked throughout."""
        element = ops.cast(self._seen(mask, parts), dtype)
        element = ops.where(element > -math.inf, element, 0.0)
        elements = [e for (e,) in self.spread(element)]
        if self.positions:
            mask, parts = [self._some(mask[0])], [self._some(parts[0])]
        parts = [ops.cast(part, dtype) for part in parts]
        zipped = zip(mask, parts, elements, strict=True)
        differences = self.sum([ops.where(m, x - e, 0.0) for m, x, e in zipped])
        return element + differences / ops.maximum(
            self.sum([ops.cast(m, dtype) for m in mask]), 1.0
        )

    def _some(self, part: Tensor) -> Tensor:
        """A 32nd of the positions, the first."""
        # Every 32nd would be more even, but takes TensorFlow as long as all of them.
        axis = self.positions[0]
        rows = -(-ops.shape(part)[axis] // 32)
        return part[tuple(slice(rows if i == axis else None) for i in range(axis + 1))]

    def _first(self, part: Tensor) -> Tensor:
        """The first element of each group, 0 of one without any: [B, ...] to [G, C]."""
        first = tuple(slice(1 if i in self.positions else None) for i in range(len(part.shape)))
        rows = ops.sum(part[first], axis=self.positions)
        # Not every n-th row, for which JAX would gather the rows of all devices.
        index = ops.arange(self._batch)
        begins = ops.logical_and(index % self._size == 0, index <= self._head)
        return self._sum_rows(ops.where(ops.expand_dims(begins, 1), rows, 0.0))

    def _seen(self, mask: list[Tensor], parts: list[Tensor]) -> Tensor:
        """An element of each group that the mask leaves in, -inf without any: to [G, C]."""
        if self.positions:
            # Of each sample the first one, which takes no pass over the input.
            rows, seen = parts[0], mask[0]
            for axis in self.positions:
                first = ops.argmax(ops.cast(seen, "int32"), axis, keepdims=True)
                rows = ops.take_along_axis(rows, first, axis)
                seen = ops.any(seen, axis, keepdims=True)
            shape = (-1, rows.shape[self.axis])
            rows = ops.reshape(ops.where(seen, rows, -math.inf), shape)
            groups = type(self)(rows, self._size, 1)
            return groups._largest(groups.split(rows))
        return self._largest([ops.where(m, x, -math.inf) for m, x in zip(mask, parts, strict=True)])

    def _largest(self, parts: list[Tensor]) -> Tensor:
        """The largest element of each group without positions: parts to [G, C]."""
        axis = 0 if self._uncut else 1
        maxima = [ops.max(part, axis, keepdims=not axis, initial=-math.inf) for part in parts]
        others, last = self._cut(ops.concatenate(maxima, axis=0), self.count - 1)
        last = ops.max(last, axis=0, keepdims=True, initial=-math.inf)
        return ops.concatenate([others, last], axis=0)

    def _sum_rows(self, rows: Tensor) -> Tensor:
        """Sums over the samples of each group: [B, C] to [G, C]."""
        if self._single:
            return ops.sum(rows, axis=0, keepdims=True)
        if self._even and not self.cuts_known:
            return ops.sum(ops.reshape(rows, (self.count, self._size, rows.shape[1])), axis=1)
        # The last group apart even if it is of the same size: XLA would make a sum of sums one sum
        # over several axes, which takes several times longer on a CPU.
        head, last = self._cut(rows, self._head)
        head = ops.reshape(head, (-1, self._size, rows.shape[1]))
        sums = [ops.sum(head, axis=1), ops.sum(last, axis=0, keepdims=True)]
        return ops.concatenate(sums, axis=0)

    def _rows(self, part: Tensor) -> Tensor:
        """Sums over the positions, [B, C]."""
        return ops.sum(part, axis=self.positions)

    @staticmethod
    def squared_difference(x: Tensor, y: Tensor) -> Tensor:
        """`(x - y) ** 2`."""
        return ops.square(x - y)

    def spread(self, *groups: Tensor) -> list[tuple[Tensor, ...]]:
        """What the elements of each part get of each [G, C]."""
        return list(zip(*map(self._spread, groups), strict=True))

    def _spread(self, groups: Tensor) -> list[Tensor]:
        """A tensor for each part."""
        if not self._uncut:
            wide = ops.expand_dims(groups, 1)
            return [wide] if self._even else [wide, wide[-1:]]
        if self._even and not self.cuts_known:
            groups = self._repeat(groups)
        elif not self._single:
            # In two pieces even if all groups are of the same size: XLA then makes an array of it,
            # and not an index to work out for each element of the input.
            head, last = self._cut(groups, self.count - 1)
            last = ops.broadcast_to(last, (self._batch - self._head, groups.shape[1]))
            groups = ops.concatenate([self._repeat(head), last], axis=0)
        return [ops.expand_dims(groups, self.positions) if self.positions else groups]

    def _cut(self, rows: Tensor, head: Tensor) -> Sequence[Tensor]:
        """The first `head` rows, or as many as there are, and the others."""
        return rows[:head], rows[head:]

    def _repeat(self, groups: Tensor) -> Tensor:
        """The values of whole groups for each of their samples."""
        # Not `ops.repeat`: that is a gather, whose gradient is a scatter. This one's is a sum.
        return ops.reshape(ops.tile(groups, (1, self._size)), (-1, groups.shape[1]))

    def join(self, parts: list[Tensor]) -> Tensor:
        """The inverse of `split`."""
        if self._uncut:
            return parts[0]
        rows = [ops.reshape(part, (-1, part.shape[-1])) for part in parts]
        return rows[0] if self._even else ops.concatenate(rows, axis=0)
