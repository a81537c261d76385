"""The step of the moving statistics as a Triton kernel for GPUs."""

import triton
import triton.language as tl


@triton.jit
def _groups(after, count, largest, groups, by_elements: tl.constexpr, block_rows: tl.constexpr):
    """The groups before the last `after`, from the last one on: which, valid ones, and counts."""
    g = (groups - 1 - after - tl.arange(0, block_rows)).to(tl.int64)
    elements = tl.load(count + g, mask=g >= 0, other=0.0)
    valid = (tl.load(largest + g, mask=g >= 0, other=0.0) < float("inf")) & (elements > 0)
    return g, valid, tl.where(valid, elements if by_elements else 1.0, 0.0)


@triton.jit
def _weights(counts, after, total, share, log_keep, sequential: tl.constexpr):
    """The groups' weights beside each other, and in the step too if that is sequential."""
    if sequential:
        later = after + tl.cumsum(counts, 0) - counts
        weights = share * counts * tl.exp(later * log_keep)
    else:
        weights = counts / tl.maximum(total, 1.0)
    return weights[:, None]


@triton.jit(do_not_specialize=["groups"])
def moved(
    count,
    mean,
    variance,
    largest,
    old_mean,
    old_variance,
    new_mean,
    new_variance,
    share,
    log_keep,
    groups,
    channels,
    sequential: tl.constexpr,
    by_elements: tl.constexpr,
    block_rows: tl.constexpr,
    block_channels: tl.constexpr,
):
    """Writes the new statistics of a block of channels, as `layers/_moving_statistics.py` has them.

    `largest` [groups] is the largest variance of each group's channels, not finite if one is not.
    """
    c = tl.program_id(0) * block_channels + tl.arange(0, block_channels)
    exists = c < channels
    total = 0.0
    if not sequential:
        for after in range(0, groups, block_rows):
            total += tl.sum(_groups(after, count, largest, groups, by_elements, block_rows)[2], 0)
    seen = 0.0
    sum_weights = 0.0
    sum_mean = tl.zeros((block_channels,), tl.float32)
    sum_variance = tl.zeros((block_channels,), tl.float32)
    for after in range(0, groups, block_rows):
        g, valid, counts = _groups(after, count, largest, groups, by_elements, block_rows)
        weights = _weights(counts, seen, total, share, log_keep, sequential)
        places = (g * channels)[:, None] + c[None, :]
        exist = valid[:, None] & exists[None, :]
        sum_weights += tl.sum(tl.sum(weights, 1), 0)
        sum_mean += tl.sum(weights * tl.load(mean + places, mask=exist, other=0.0), 0)
        sum_variance += tl.sum(weights * tl.load(variance + places, mask=exist, other=0.0), 0)
        seen += tl.sum(counts, 0)
    divisor = tl.where(sum_weights > 0, sum_weights, 1.0)
    all_mean, all_variance = sum_mean / divisor, sum_variance / divisor
    if by_elements:
        # Of all groups, about their mean; infinite if float32 does not hold it.
        for after in range(0, groups, block_rows):
            g, valid, counts = _groups(after, count, largest, groups, by_elements, block_rows)
            weights = _weights(counts, 0.0, total, share, log_keep, sequential) / divisor
            places = (g * channels)[:, None] + c[None, :]
            exist = valid[:, None] & exists[None, :]
            apart = tl.load(mean + places, mask=exist, other=0.0) - all_mean[None, :]
            all_variance += tl.sum(tl.where(exist, weights * apart * apart, 0.0), 0)
    was_mean = tl.load(old_mean + c, mask=exists, other=0.0)
    was_variance = tl.load(old_variance + c, mask=exists, other=0.0)
    part = sum_weights if sequential else tl.where(total > 0, share, 0.0)
    is_mean = (1 - part) * was_mean.to(tl.float32) + part * all_mean
    is_variance = (1 - part) * was_variance.to(tl.float32) + part * all_variance
    is_mean = is_mean.to(was_mean.dtype)
    is_variance = is_variance.to(was_variance.dtype)
    finite = (is_mean - is_mean == 0) & (is_variance - is_variance == 0)
    tl.store(new_mean + c, tl.where(finite, is_mean, was_mean), mask=exists)
    tl.store(new_variance + c, tl.where(finite, is_variance, was_variance), mask=exists)
