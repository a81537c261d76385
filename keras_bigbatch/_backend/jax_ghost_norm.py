"""Ghost batch norm on JAX: the reference, which XLA fuses, but for how a tail is cut off."""

from collections.abc import Sequence

import jax.numpy as jnp

from keras_bigbatch._backend import ghost_norm
from keras_bigbatch._backend.ghost_norm import GhostGroups, GhostMoments
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
    """As `ghost_norm.ghost_normalize`."""
    options = (virtual_batch, axis, epsilon, mask)
    return ghost_norm.ghost_normalize(x, gamma, beta, *options, grouping=_Groups)


class _Groups(GhostGroups):
    def _cut(self, rows: Tensor, head: Tensor) -> Sequence[Tensor]:
        # The gradient of this is a concatenation. That of slices is a sum of them, padded.
        parts: Sequence[Tensor] = jnp.split(rows, [head])
        return parts
