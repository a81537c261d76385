"""Ghost batch norm in `keras.ops`: the reference for every backend, and JAX's own form.

Shapes: B samples, C channels, G groups. Everything of full size is touched by row sums and one
multiply-add only; whatever depends on the groups is [B, C] or [G, C]. Nothing loops over the
groups, so the traced program is the same for 4 groups and for 512.
"""

from typing import NamedTuple

import keras
from keras import ops

from keras_bigbatch._typing import Tensor


class GhostGroups:
    """Contiguous groups of `virtual_batch` samples along axis 0, the tail merged into the last.

    Args:
        batch: Number of samples: an `int` where it is known, a scalar tensor in a TensorFlow graph
            that was traced for any batch.
        virtual_batch: Samples in a group. A smaller batch is one group.
    """

    def __init__(self, batch: Tensor, virtual_batch: int) -> None:
        self._batch = batch
        self._size = virtual_batch
        self._static = isinstance(batch, int)
        self.count = (
            max(batch // virtual_batch, 1)
            if self._static
            else ops.maximum(batch // virtual_batch, 1)
        )
        # Samples before the last group, the only one that may be of another size.
        self._head = (self.count - 1) * virtual_batch
        self._single = self._static and self.count == 1
        self._even = self._static and batch == self.count * virtual_batch

    def sizes(self, dtype: str) -> Tensor:
        """Samples in each group, [G, 1]."""
        last = ops.cast(self._batch - self._head, dtype)
        sizes = ops.full((self.count - 1, 1), float(self._size), dtype=dtype)
        return ops.concatenate([sizes, ops.reshape(last, (1, 1))], axis=0)

    def sum(self, rows: Tensor) -> Tensor:
        """Sums of the rows of each group: [B, C] to [G, C]."""
        if self._single:
            return ops.sum(rows, axis=0, keepdims=True)
        channels = rows.shape[1]
        if self._even:
            return ops.sum(ops.reshape(rows, (self.count, self._size, channels)), axis=1)
        head = ops.reshape(rows[: self._head], (self.count - 1, self._size, channels))
        last = ops.sum(rows[self._head :], axis=0, keepdims=True)
        return ops.concatenate([ops.sum(head, axis=1), last], axis=0)

    def spread(self, groups: Tensor) -> Tensor:
        """Gives each row its group's values: [G, C] to [B, C], or to [1, C] if there is one."""
        if self._single:
            return groups
        channels = groups.shape[1]
        if self._even:
            return self._repeat(groups, self.count, self._size, channels)
        head = self._repeat(groups[:-1], self.count - 1, self._size, channels)
        last = ops.broadcast_to(groups[-1:], (self._batch - self._head, channels))
        return ops.concatenate([head, last], axis=0)

    @staticmethod
    def _repeat(groups: Tensor, count: Tensor, size: int, channels: int) -> Tensor:
        # Not `ops.repeat`: that is a gather, whose gradient is a scatter. This one's is a sum.
        repeated = ops.broadcast_to(ops.expand_dims(groups, 1), (count, size, channels))
        return ops.reshape(repeated, (count * size, channels))


class GhostMoments(NamedTuple):
    """Moments of each group: `count` [G, 1] of its elements a channel, the others [G, C]."""

    count: Tensor
    mean: Tensor
    variance: Tensor


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, GhostMoments]:
    """Normalizes each group by its own moments.

    Args:
        x: Input, the batch on axis 0.
        gamma: Scale, [C] in the precision of the statistics, or None.
        beta: Offset, likewise.
        virtual_batch: Samples in a group; the tail joins the last.
        axis: The channels' axis, positive.
        epsilon: Added to the variance inside the root.
        mask: As for `ghost_moments`.

    Returns:
        The output and the groups' moments, in the precision of the statistics or, for the output,
        in x's own.
    """
    # Half precision overflows in the squares.
    x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
    groups = GhostGroups(ops.shape(x)[0], virtual_batch)
    moments = ghost_moments(x, groups, axis, mask)
    # One multiply-add over the input: normalization, gamma and beta are folded at [G, C].
    scale = ops.rsqrt(moments.variance + epsilon)
    if gamma is not None:
        scale = scale * gamma
    offset = -moments.mean * scale
    if beta is not None:
        offset = offset + beta
    rank = len(x.shape)
    y = x * expand(groups.spread(scale), rank, axis) + expand(groups.spread(offset), rank, axis)
    return y, moments


def ghost_moments(
    x: Tensor, groups: GhostGroups, axis: int, mask: Tensor | None = None
) -> GhostMoments:
    """Mean and biased variance of each group over its samples and positions, in two passes.

    Args:
        x: Input in the precision of the statistics, channels on `axis` (positive).
        groups: How the samples are grouped.
        axis: The channels' axis.
        mask: Boolean, of x's rank, 1 along `axis`; False leaves a position out. A group that is
            masked throughout has count, mean and variance 0.
    """
    positions = tuple(i for i in range(1, len(x.shape)) if i != axis)

    def group_sum(values: Tensor) -> Tensor:
        return groups.sum(ops.sum(values, axis=positions) if positions else values)

    if mask is None:
        per_sample = 1
        for i in positions:
            per_sample = per_sample * ops.shape(x)[i]
        count = groups.sizes(x.dtype) * ops.cast(per_sample, x.dtype)
        kept = x
    else:
        count = group_sum(ops.cast(mask, x.dtype))
        kept = ops.where(mask, x, ops.zeros_like(x))
    divisor = ops.maximum(count, 1.0)
    mean = group_sum(kept) / divisor

    # The variance about any constant c is E[(x - c)^2] - (mean - c)^2. With c the mean itself, held
    # constant, the second term is 0 and so is its gradient, which spares the backward pass the way
    # through the mean; yet derivatives of every order are right, as Hessian products need.
    centre = ops.stop_gradient(mean)
    difference = x - expand(groups.spread(centre), len(x.shape), axis)
    if mask is not None:
        difference = ops.where(mask, difference, ops.zeros_like(difference))
    variance = group_sum(ops.square(difference)) / divisor - ops.square(mean - centre)
    return GhostMoments(count, mean, variance)


def expand(rows: Tensor, rank: int, axis: int) -> Tensor:
    """Gives [B, C] the rank of the input: B on axis 0, C on `axis`, 1 elsewhere."""
    rank_axes = [i for i in range(1, rank) if i != axis]
    return ops.expand_dims(rows, rank_axes) if rank_axes else rows
