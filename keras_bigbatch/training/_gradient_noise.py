"""The random weights that give a large batch the gradient noise of a small one."""

import math
from typing import Any

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._typing import Tensor

_STATE = "state"


class GradientNoise(keras.layers.Layer):
    """Draws a weight for each sample of a batch, from `N(1, variance)`.

    It is a layer because Keras finds and saves layers: a model's files hold the state of the draws
    beside the weights, so that a resumed training draws as if it had never stopped. The state is
    not in `get_weights()`.

    Args:
        variance: sigma^2.
        seed: Seed of the draws; a random one if None.
    """

    def __init__(self, variance: float, seed: int | None) -> None:
        super().__init__()
        self.variance = variance
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.built = True

    def draw(self, batch: Tensor) -> Tensor:
        """Draws the weights of the next batch, [B]."""
        replica, replicas = _backend.active().replicas.rank_and_count()
        # Replicas have the same random state, so each draws for all and takes its own row.
        shape = (replicas, batch)
        draws = keras.random.normal(shape, seed=self.seed_generator, dtype="float32")
        return 1.0 + math.sqrt(self.variance) * ops.take(draws, replica, axis=0)

    def save_own_variables(self, store: Any) -> None:
        store[_STATE] = self.seed_generator.state

    def load_own_variables(self, store: Any) -> None:
        # A plain model's file has no state.
        if _STATE in store.keys():  # noqa: SIM118 - a group of an HDF5 file has `keys` only
            self.seed_generator.state.assign(store[_STATE])
