"""Ghost batch norm on PyTorch with torch's own batch norm kernel, called for each group.

For large groups in half precision, which the kernel reads and writes as they are. The walk has to
copy them to float32 and back, and takes up to twice as long. In float32 the kernel would gain a
tenth, and lose digits.
"""

import torch

from keras_bigbatch._backend.torch.ghost_norm.tiles import Walk, inverse_deviation
from keras_bigbatch._backend.torch.private_api import batch_norm_backward
from keras_bigbatch._typing import Tensor

# Elements of a group, for each thread. Of fewer, the calls take longer than the walk.
_LEAST = 2**14

# Of |mean| * scale: what it leaves of the mean is 2**-23 of that.
_MOST = 64

_BACKWARD = batch_norm_backward()


def suits(walk: Walk) -> bool:
    """Whether the kernel is the faster way, and exact enough.

    It adds up the elements of a channel one by one in float32. At a large mean that would lose
    digits, were the sum not exact: float32 has 16 binary digits more than bfloat16, and so takes
    2**16 elements, and 13 more than float16. That makes the mean exact. The squared deviations are
    rounded as they are added up: a variance of 2**16 elements with a mean of 100 deviations was off
    by 1.7e-4 in the median of 40 draws and by 4e-4 at most with one thread, by less with more.
    """
    if _BACKWARD is None or walk.x.dtype == torch.float32:
        return False
    if torch.jit.is_tracing():  # in a trace it has no gradient
        return False
    group = walk.largest_group()
    channel = group // walk.channels
    exact = torch.finfo(walk.x.dtype).eps / torch.finfo(torch.float32).eps
    return group >= _LEAST * torch.get_num_threads() and 1 < channel <= exact


def normalize(
    walk: Walk, gamma: Tensor, beta: Tensor, epsilon: float, outputs: tuple[Tensor, ...]
) -> None:
    """As `tiles.normalize`."""
    y, count, mean, variance = outputs
    walk.write_sizes(count)
    gamma, beta = gamma.float(), beta.float()
    # The kernel gives 1 / sqrt(variance + epsilon), of which little of a small variance is left. A
    # moving variance that moves all the way is the group's, but for the divisor n - 1.
    moving_mean, root = torch.zeros(2, walk.channels, dtype=torch.float32)
    variance.zero_()
    options = {"training": True, "momentum": 1.0, "eps": epsilon}
    groups = list(walk.groups(walk.x, y))
    for (xg, yg), m, v in zip(groups, mean, variance, strict=True):
        torch.native_batch_norm(xg, gamma, beta, moving_mean, v, **options, out=(yg, m, root))
        v.mul_(1 - walk.channels / xg.numel())
    # The kernel folds the mean into an offset, which leaves a rounding where the mean is large or a
    # channel constant, and takes 0 for the scale of a variance that overflowed.
    scale = inverse_deviation(variance, epsilon)
    right = (mean.abs() * scale <= _MOST) & ((variance > 0) | (mean == 0))
    for group in (~right).any(1).nonzero()[:, 0].tolist():
        xg, yg = groups[group]
        beside = (mean[group], scale[group] * gamma, beta)
        m, s, b = (values[:, None] if xg.dim() == 3 else values for values in beside)
        yg.copy_(torch.sub(xg, m).mul_(s).add_(b))


def differentiate(
    walk: Walk,
    gamma: Tensor,
    moments: tuple[Tensor, Tensor],
    epsilon: float,
    dy: Tensor,
    outputs: tuple[Tensor, Tensor],
) -> None:
    """As `tiles.differentiate`."""
    dx, sums = outputs
    mean, variance = moments
    gamma, root = gamma.float(), inverse_deviation(variance, epsilon)
    options = {"train": True, "eps": 0.0, "output_mask": [True, True, True]}
    groups = zip(walk.groups(walk.x, dy, dx), mean, root, *sums, strict=True)
    for (xg, dyg, dxg), m, r, dgammag, dbetag in groups:
        inputs = (dyg, xg, gamma, None, None, m, r)
        _BACKWARD(*inputs, **options, out0=dxg, out1=dgammag, out2=dbetag)
