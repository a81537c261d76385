"""Ghost batch norm as XLA fuses it: the reference, except for how a tail is split off."""

from collections.abc import Sequence
from functools import partial

import jax.numpy as jnp

from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch._backend.reference.ghost_groups import GhostGroups
from keras_bigbatch._typing import Tensor


class Groups(GhostGroups):
    """With a tail whose gradient is a concatenation. That of slices is a sum of them, padded."""

    def _cut(self, rows: Tensor, head: Tensor) -> Sequence[Tensor]:
        parts: Sequence[Tensor] = jnp.split(rows, [head])
        return parts


ghost_normalize = partial(ghost_norm.ghost_normalize, grouping=Groups)
