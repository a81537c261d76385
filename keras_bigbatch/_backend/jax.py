"""JAX: what `keras.ops` has no (fast enough) word for."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from keras_bigbatch._backend.ghost_norm import ghost_normalize as ghost_normalize
from keras_bigbatch._typing import Tensor


def snapshot(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies on the same devices; the originals may be donated to the next step."""
    return [jnp.copy(tensor) for tensor in tensors]


def restored(arrays: Sequence[npt.NDArray[np.generic]], like: Sequence[Tensor]) -> list[Tensor]:
    """The arrays as tensors with the types and places of `like`."""
    return [
        jax.device_put(array.astype(tensor.dtype), tensor.sharding)
        for array, tensor in zip(arrays, like, strict=True)
    ]


def squared_distances(
    references: Sequence[Tensor], tensors: Sequence[Tensor]
) -> npt.NDArray[np.float64]:
    """The sum of squared differences of each pair, in one compiled call and one copy."""
    return np.asarray(_squared_distances(list(references), list(tensors)), np.float64)


# At module level, so that its compilations outlive a `fit`.
@jax.jit
def _squared_distances(references: list[Tensor], tensors: list[Tensor]) -> Tensor:
    sums = []
    for reference, tensor in zip(references, tensors, strict=True):
        wide = jnp.promote_types(tensor.dtype, jnp.float32)
        sums.append(jnp.sum(jnp.square(tensor.astype(wide) - reference.astype(wide))))
    return jnp.stack(sums)
