"""A model's weights on JAX: copies of them, and their distance from a reference."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from keras_bigbatch._backend.reference import weights
from keras_bigbatch._private_api import trainer_state
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


class WeightMeter(weights.WeightMeter):
    """Measures in one compiled call, from what Keras's trainer holds.

    In the middle of an epoch the variables are empty, and the trainer has their values. Until
    `jax_state_sync` fills them, that is, after which the trainer must gather all of them anew: that
    costs more than the measurement. So this looks at what the trainer holds, and synchronizes where
    there is nothing to be seen.
    """

    def updates(self) -> int:
        """As held; accumulated updates are computed from a synchronized variable."""
        held = self._held("optimizer_variables") if self.steps_an_update == 1 else None
        if held is None:
            self.model.jax_state_sync()
            return super().updates()
        optimizer = self.model.optimizer
        at = next(i for i, v in enumerate(optimizer.variables) if v is optimizer.iterations)
        return int(held[at])

    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """In one compiled call and one copy to the host."""
        values = self._held("trainable_variables")
        if values is None:
            self.model.jax_state_sync()
            values = [variable.value for variable in self.variables]
        return np.asarray(_squared_distances(list(references), values), np.float64)

    def _held(self, kind: str) -> list[Tensor] | None:
        """The trainer's present values, None where the variables have them."""
        state = trainer_state(self.model)
        return None if state is None else list(state[kind])


# At module level, so that its compilations outlive a `fit`.
@jax.jit
def _squared_distances(references: list[Tensor], tensors: list[Tensor]) -> Tensor:
    sums = []
    for reference, tensor in zip(references, tensors, strict=True):
        wide = jnp.promote_types(tensor.dtype, jnp.float32)
        sums.append(jnp.sum(jnp.square(tensor.astype(wide) - reference.astype(wide))))
    return jnp.stack(sums)
