"""Ghost batch norm on PyTorch by torch's own batch norm kernel, on each group of its own.

For large groups in half precision, which the kernel reads and writes as they are. The walk has to
copy them to float32 and back, which is half of its time. In float32 the kernel would gain a tenth,
and lose digits.
"""

import torch

from keras_bigbatch._backend.torch_walk import Walk
from keras_bigbatch._typing import Tensor

# Elements of a group, for each thread. Of fewer, the calls take longer than the walk.
_LEAST = 2**14

_backward = torch.ops.aten.native_batch_norm_backward.out


def suits(walk: Walk) -> bool:
    """Whether the kernel is the faster way, and exact enough.

    It adds up the elements of a channel one by one in float32. A large mean would cost digits, but
    as many elements as float32 has steps between two neighbours in x's precision have an exact sum:
    2**16 in bfloat16, 2**13 in float16.
    """
    size, precision = walk.largest_group(), torch.finfo(walk.x.dtype)
    exact = precision.eps / torch.finfo(torch.float32).eps
    large = size >= _LEAST * torch.get_num_threads()
    return precision.bits < 32 and large and size // walk.channels <= exact


def normalize(
    walk: Walk,
    gamma: Tensor,
    beta: Tensor,
    epsilon: float,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    """As `torch_walk.normalize`."""
    y, mean, variance = outputs
    weights = gamma.float(), beta.float()
    for (xg, yg), m, v in zip(walk.groups(walk.x, y), mean, variance, strict=True):
        torch.native_batch_norm(xg, *weights, None, None, True, 0.0, epsilon, out=(yg, m, v))
    # What the kernel writes for the variance is 1 / sqrt(variance + epsilon).
    variance.pow_(-2).sub_(epsilon).clamp_(min=0)


def differentiate(
    walk: Walk,
    gamma: Tensor,
    mean: Tensor,
    root: Tensor,
    dy: Tensor,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    """As `torch_walk.differentiate`."""
    dx, dgamma, dbeta = outputs
    groups = zip(walk.groups(walk.x, dy, dx), mean, root, dgamma, dbeta, strict=True)
    for (xg, dyg, dxg), m, r, along, whole in groups:
        inputs = (dyg, xg, gamma.float(), None, None, m, r, True, 0.0, [True] * 3)
        _backward(*inputs, out0=dxg, out1=along, out2=whole)
