"""What the papers define, in NumPy float64, one group and one sum at a time: slow and plain."""

import itertools

import numpy as np


def ghost_groups(batch, virtual_batch):
    """The samples of each group: whole groups, the tail in the last."""
    count = max(batch // virtual_batch, 1)
    starts = [i * virtual_batch for i in range(count)] + [batch]
    return [slice(start, stop) for start, stop in itertools.pairwise(starts)]


def ghost_batch_norm(x, gamma, beta, virtual_batch, axis, epsilon, dy=None, mask=None):
    """Output, the groups' moments, and with `dy` the gradients to x, gamma and beta.

    `mask` has x's shape without the channel axis. Channels are moved last inside.
    """
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    mask = np.ones(x.shape[:-1], bool) if mask is None else np.asarray(mask, bool)
    y, dx = np.empty_like(x), np.empty_like(x)
    dgamma, dbeta = np.zeros(x.shape[-1]), np.zeros(x.shape[-1])
    if dy is not None:
        dy = np.moveaxis(np.asarray(dy, np.float64), axis, -1)
    moments = []
    for group in ghost_groups(len(x), virtual_batch):
        xg, kept = x[group], mask[group]
        n = kept.sum()
        seen = xg[kept]  # [n, C]
        mean = seen.sum(0) / max(n, 1)
        variance = ((seen - mean) ** 2).sum(0) / max(n, 1)
        moments.append((n, mean, variance))
        r = 1 / np.sqrt(variance + epsilon)
        normalized = (xg - mean) * r
        y[group] = gamma * normalized + beta
        if dy is None:
            continue
        dyg = dy[group].reshape(-1, x.shape[-1])
        flat = normalized.reshape(-1, x.shape[-1])
        dgamma += (dyg * flat).sum(0)
        dbeta += dyg.sum(0)
        # Every position is normalized, but only the kept ones move the moments.
        from_moments = (dyg.sum(0) + normalized * (dyg * flat).sum(0)) / max(n, 1)
        dx[group] = gamma * r * (dy[group] - kept[..., None] * from_moments)
    y, dx = np.moveaxis(y, -1, axis), np.moveaxis(dx, -1, axis)
    return y, moments, (dx, dgamma, dbeta)


def moving_statistics(moving, moments, momentum, statistics):
    """The moving mean and variance after one step, from `(count, mean, variance)` a group."""
    mean, variance = (np.asarray(value, np.float64) for value in moving)
    moments = [m for m in moments if m[0] and np.isfinite(m[1]).all() and np.isfinite(m[2]).all()]
    if not moments:
        return mean, variance
    counts, means, variances = (np.array(part) for part in zip(*moments, strict=True))
    if statistics == "sequential":
        steps = list(zip(means, variances, strict=True))
    elif statistics == "mean":
        steps = [(means.mean(0), variances.mean(0))]
    else:
        share = (counts / counts.sum())[:, None]
        whole = (share * means).sum(0)
        # The second moment of the whole batch, less its mean's square.
        steps = [(whole, (share * (variances + means**2)).sum(0) - whole**2)]
    for step_mean, step_variance in steps:
        mean = momentum * mean + (1 - momentum) * step_mean
        variance = momentum * variance + (1 - momentum) * step_variance
    return mean, variance


def ghost_noise(x, drawn, axis, epsilon, mask=True):
    """Output and factor of each sample and channel, from the samples `drawn` for each sample.

    The factor is the gradient of an output to its own input; the two are of x's shape. So is what
    `mask` is broadcast to.
    """
    mask = np.moveaxis(np.broadcast_to(mask, np.shape(x)), axis, -1)
    x = np.moveaxis(np.asarray(x, np.float64), axis, -1)
    y, factor = np.array(x), np.ones_like(x)
    for channel, sample in np.ndindex(x.shape[-1], len(x)):
        values, kept = x[..., channel], mask[..., channel]
        seen = values[drawn[sample]][kept[drawn[sample]]]
        if not seen.size:
            continue  # no noise
        batch = values[kept]
        scale = np.sqrt((batch.var() + epsilon) / (seen.var() + epsilon))
        y[sample, ..., channel] = (values[sample] - seen.mean()) * scale + batch.mean()
        factor[sample, ..., channel] = scale
    return np.moveaxis(y, -1, axis), np.moveaxis(factor, -1, axis)
