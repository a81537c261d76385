"""What layer-wise optimizers compute from a whole tensor, on PyTorch, and their update in place.

Nothing here waits for an accelerator: norms, ratios and rates stay tensors. Variables that adapt go
one by one, so that on a CPU the update finds in the cache what the norms have just read; all the
others, small and many, go together.
"""

from collections.abc import Sequence
from functools import partial
from typing import TypeAlias

import keras
import torch

from keras_bigbatch._backend._protocol import MomentumOptimizer
from keras_bigbatch._backend.reference import optimizer as reference
from keras_bigbatch._backend.reference.optimizer import momentum_step as momentum_step
from keras_bigbatch._backend.torch.private_api import has_foreach
from keras_bigbatch._typing import Tensor

# Values in one dot product on a CPU: with more of them float32 would lose digits.
_DOT = 2**19

_HAS_FOREACH = has_foreach()

# A variable that does not adapt: weight, velocity or None, gradient.
_Plain: TypeAlias = tuple[Tensor, Tensor | None, Tensor]


def dense(gradient: Tensor) -> Tensor:
    """The gradient as a plain tensor."""
    return gradient if gradient.layout == torch.strided else gradient.to_dense()


at_once = torch.no_grad


def all_zero(variable: keras.Variable) -> bool:
    """By one look at each value, on its device."""
    value = variable.value
    if torch.compiler.is_compiling() or value.device.type == "meta":
        return False
    return not bool(value.any())


def squared_norm(tensor: Tensor) -> Tensor:
    """By dot products, in one pass.

    They are closer than torch's norm, which is off by up to 1e-4 for a large tensor on a CPU.
    """
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    flat = wide.reshape(-1)
    if flat.numel() <= _DOT or flat.device.type != "cpu":
        return torch.dot(flat, flat)
    return torch.stack([torch.dot(part, part) for part in flat.split(_DOT)]).sum()


clip_where = partial(reference.clip_by_branch, squared_norm=squared_norm)


def norm(tensor: Tensor) -> Tensor:
    """By `squared_norm`."""
    return squared_norm(tensor).sqrt()


def median_magnitude(tensor: Tensor) -> Tensor:
    """By `torch.median`, which selects the lower middle value; NaN if there is one."""
    magnitudes = tensor.abs()
    size = magnitudes.numel()
    if size == 0:
        return magnitudes.new_tensor(float("nan"))
    lower = magnitudes.median()
    above = torch.where(magnitudes > lower, magnitudes, float("inf")).min()
    up_to = torch.count_nonzero(magnitudes <= lower)
    return (lower + torch.where(up_to > size // 2, lower, above)) / 2


def usable_factor(ratio: Tensor, coefficient: float) -> Tensor:
    """By Python's numbers on a CPU, where there is nothing to wait for."""
    if ratio.device.type == "cpu" and not torch.compiler.is_compiling():
        return coefficient * ratio if 0 < ratio.item() < float("inf") else torch.ones_like(ratio)
    return torch.where((ratio > 0) & (ratio < float("inf")), coefficient * ratio, 1.0)


@torch.no_grad()
def update_together(
    optimizer: MomentumOptimizer,
    gradients: Sequence[Tensor],
    variables: Sequence[keras.Variable],
    learning_rate: Tensor,
) -> bool:
    """In place; half precision is left to single steps."""
    weights = [variable.value for variable in variables]
    # Half-precision steps are computed in float32: that is left to `update_step`.
    types = {weight.dtype for weight in weights}
    fits = types <= {torch.float32, torch.float64}
    if torch.compiler.is_compiling() or not fits or not _HAS_FOREACH:
        return False
    rate = torch.as_tensor(getattr(learning_rate, "value", learning_rate))
    rates = {dtype: rate.to(weights[0].device, dtype) for dtype in types}
    on_cpu = weights[0].device.type == "cpu"
    kept, shown = [], []
    plain: dict[torch.dtype, list[_Plain]] = {dtype: [] for dtype in types}
    for gradient, variable, weight in zip(gradients, variables, weights, strict=True):
        gradient = dense(gradient).to(weight.dtype)
        velocity, ratio = optimizer._velocity_and_ratio(variable)
        velocity = None if velocity is None else velocity.value
        if ratio is None:
            plain[weight.dtype].append((weight, velocity, gradient))
            continue
        factor, scalar, decay = optimizer._factor(variable, weight, gradient)
        kept.append(ratio.value)
        shown.append(scalar)
        scale = rates[weight.dtype]
        if on_cpu and factor.numel() == 1:
            # There is nothing to wait for, and with plain numbers it is faster.
            factor, scale = factor.item(), scale.item()
        _step(optimizer, weight, velocity, gradient, factor, scale, decay)
    if kept:
        torch._foreach_copy_(kept, shown)
    for dtype, triples in plain.items():
        if triples:
            _plain_steps(optimizer, triples, rates[dtype])
    return True


def _step(
    optimizer: MomentumOptimizer,
    weight: Tensor,
    velocity: Tensor | None,
    gradient: Tensor,
    factor: float | Tensor,
    rate: float | Tensor,
    decay: float,
) -> None:
    """One variable's step: `factor` and `rate` are floats, scalars, or a tensor like the weight."""
    inside, nesterov = optimizer.rate_in_momentum, optimizer.nesterov
    scaled = factor * rate
    if velocity is not None:
        first = scaled if inside else factor
        _add(velocity.mul_(optimizer.momentum), gradient, first, -1)
        if decay:
            _add(velocity, weight, first, -decay)
    if velocity is None or nesterov:
        # The decay is of the weight as it was.
        if decay:
            weight.mul_(1 - decay * scaled)
        _add(weight, gradient, scaled, -1)
    if velocity is not None:
        _add(weight, velocity, 1.0 if inside else rate, optimizer.momentum if nesterov else 1)


def _add(tensor: Tensor, other: Tensor, factor: float | Tensor, sign: float) -> Tensor:
    """Adds `sign * factor * other` in place."""
    if isinstance(factor, float):
        return tensor.add_(other, alpha=sign * factor)
    return tensor.addcmul_(other, factor, value=sign)


def _plain_steps(optimizer: MomentumOptimizer, triples: Sequence[_Plain], rate: Tensor) -> None:
    """The steps of variables that do not adapt."""
    weights, velocities, gradients = (list(column) for column in zip(*triples, strict=True))
    steps = torch._foreach_mul(gradients, -rate)
    if optimizer.momentum == 0:
        torch._foreach_add_(weights, steps)
        return
    inside = optimizer.rate_in_momentum
    torch._foreach_mul_(velocities, optimizer.momentum)
    if inside:
        torch._foreach_add_(velocities, steps)
    else:
        torch._foreach_sub_(velocities, gradients)
    moves = velocities if inside else torch._foreach_mul(velocities, rate)
    torch._foreach_add_(weights, moves, alpha=optimizer.momentum if optimizer.nesterov else 1)
    if optimizer.nesterov:
        torch._foreach_add_(weights, steps)
