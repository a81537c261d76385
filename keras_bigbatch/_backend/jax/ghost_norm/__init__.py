"""Ghost batch norm on JAX: code that XLA fuses, and a kernel for feature vectors on TPU."""

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.jax.ghost_norm import dense, xla
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch._typing import Tensor


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, GhostMoments]:
    """By the kernel where there is one for the input."""
    normalized = dense.normalizer(x, virtual_batch, epsilon) if mask is None else None
    if normalized is not None:
        return normalized(x, gamma, beta)
    return xla.ghost_normalize(x, gamma, beta, virtual_batch, axis, epsilon, mask)


python_is_compiled = ghost_norm.python_is_compiled
moved_by_kernel = ghost_norm.moved_by_kernel
traced_once = ghost_norm.traced_once
