"""The moments of groups that are drawn from a batch, without gathering their samples."""

from typing import NamedTuple

from keras import ops

from keras_bigbatch._typing import Tensor


class Moments(NamedTuple):
    """A mean and a biased variance for each channel."""

    mean: Tensor
    variance: Tensor


def drawn_moments(
    x: Tensor, counts: Tensor, size: int, axis: int, mask: Tensor | None
) -> tuple[Tensor, Moments, Moments]:
    """The moments of a batch and of the groups drawn from it.

    A group's means are those of its samples, so that products of `counts` with the samples' own
    means, [B, C], give them all. A variance is `E[(x - c)^2] - E[x - c]^2` about the batch's mean
    c: about 0, it would be lost to rounding where the mean is large beside the deviation.

    Args:
        x: Input in the precision of the statistics, held constant.
        counts: How often each sample is in each group, [G, B].
        size: Samples in a group.
        axis: The channels' axis, positive.
        mask: Boolean, of x's shape, or 1 along `axis`; False leaves a position out.

    Returns:
        The mean c of the batch, off by rounding, [1, C]; the moments of `x - c` in the batch,
        [1, C]; and those in the groups, [G, C]. A group that is masked throughout has the batch's.
    """
    positions = tuple(i for i in range(1, len(x.shape)) if i != axis)

    def of_samples(values: Tensor) -> Tensor:
        """Of each sample the mean over its positions, masked ones being 0: [B, C]."""
        kept = values if mask is None else ops.where(mask, values, 0.0)
        return ops.mean(kept, axis=positions) if positions else kept

    def of_batch(values: Tensor) -> Tensor:
        return ops.mean(values, axis=0, keepdims=True)

    def of_groups(values: Tensor) -> Tensor:
        return ops.matmul(counts, values) / size

    # What share of the positions is there, by which a mean over all of them is divided.
    share = None if mask is None else of_samples(ops.cast(mask, x.dtype))
    centre = _over(of_batch(of_samples(x)), None if share is None else of_batch(share))
    apart = x - (ops.expand_dims(centre, positions) if positions else centre)
    means, squares = of_samples(apart), of_samples(ops.square(apart))
    found = []
    for average in (of_batch, of_groups):
        there = None if share is None else average(share)
        mean, square = (_over(average(each), there) for each in (means, squares))
        found.append(Moments(mean, ops.maximum(square - ops.square(mean), 0.0)))
    batch, groups = found
    if share is not None:
        some = of_groups(share) > 0
        groups = Moments(*(ops.where(some, g, b) for g, b in zip(groups, batch, strict=True)))
    return centre, batch, groups


def _over(mean: Tensor, share: Tensor | None) -> Tensor:
    """The mean over the positions that are there; 0 if there is none."""
    return mean if share is None else mean / ops.where(share > 0, share, 1.0)
