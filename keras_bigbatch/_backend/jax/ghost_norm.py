"""Ghost batch norm on JAX: the reference, which XLA fuses, but for how a tail is cut off."""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp

from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch._backend.reference.ghost_groups import GhostGroups
from keras_bigbatch._typing import Tensor


class _Groups(GhostGroups):
    def _cut(self, rows: Tensor, head: Tensor) -> Sequence[Tensor]:
        # The gradient of this is a concatenation. That of slices is a sum of them, padded.
        parts: Sequence[Tensor] = jnp.split(rows, [head])
        return parts


ghost_normalize = partial(ghost_norm.ghost_normalize, grouping=_Groups)
python_is_compiled = ghost_norm.python_is_compiled
traced_once = ghost_norm.traced_once
