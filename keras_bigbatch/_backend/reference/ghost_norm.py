"""Ghost batch norm in `keras.ops`: the reference for every backend, and JAX's own form.

Shapes: B samples, C channels, G groups. Everything of full size is touched by row sums and one
multiply-add only; whatever depends on the groups is [B, C] or [G, C]. Nothing loops over the
groups, so the traced program is the same for 4 groups and for 512.
"""

from collections.abc import Callable, Sequence

import keras
from keras import ops

from keras_bigbatch._backend._protocol import GhostMoments
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


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
    grouping: type[GhostGroups] = GhostGroups,
) -> tuple[Tensor, GhostMoments]:
    """By `grouping`, which is how the groups are summed and reached."""
    groups = grouping(x, virtual_batch, axis)
    # Half precision overflows in the squares.
    precision = keras.backend.result_type(x.dtype, "float32")
    parts = [ops.cast(part, precision) for part in groups.split(x)]
    moments = ghost_moments(parts, groups, None if mask is None else groups.split(mask))
    # One multiply-add over the input: normalization, gamma and beta are folded at [G, C].
    scale = ops.rsqrt(moments.variance + epsilon)
    if gamma is not None:
        scale = scale * gamma
    offset = -moments.mean * scale
    if beta is not None:
        # A variance is not negative. But XLA does not know that, and so does not make one sum of
        # beta's gradient, a sum of sums, for which it would read the upstream gradient once more.
        offset = offset + ops.where(moments.variance < 0, 0.0, beta)
    spread = zip(parts, groups.spread(scale, offset), strict=True)
    return groups.join([part * scale + offset for part, (scale, offset) in spread]), moments


def python_is_compiled() -> bool:
    """False: what is traced is run, once."""
    return False


def ghost_moments(
    parts: list[Tensor], groups: GhostGroups, mask: list[Tensor] | None = None
) -> GhostMoments:
    """Mean and biased variance of each group over its samples and positions, in two passes.

    Args:
        parts: Input in the precision of the statistics, split by `groups`.
        groups: How the samples are grouped.
        mask: Boolean, split too; False leaves a position out. A group that is masked throughout
            has count, mean and variance 0.
    """

    def masked(others: Sequence[Tensor]) -> list[Tensor]:
        if mask is None:
            return parts
        return [ops.where(m, x, y) for m, x, y in zip(mask, parts, others, strict=True)]

    dtype = keras.backend.standardize_dtype(parts[0].dtype)
    count = groups.sizes(dtype) if mask is None else groups.sum([ops.cast(m, dtype) for m in mask])
    divisor = ops.maximum(count, 1.0)
    mean = groups.sum(masked([0.0] * len(parts))) / divisor

    # The variance about any constant c is E[(x - c)^2] - (mean - c)^2. With c the mean itself, held
    # constant, the second term is 0 and so is its gradient, which spares the backward pass the way
    # through the mean; yet derivatives of every order are right, as Hessian products need.
    centre = ops.stop_gradient(mean)
    centres = [c for (c,) in groups.spread(centre)]
    squares = groups.sum_of(groups.squared_difference, masked(centres), centres)
    variance = squares / divisor
    return GhostMoments(count, mean, variance - ops.square(mean - centre))
