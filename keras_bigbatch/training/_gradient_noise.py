"""The random weights that give a large batch the gradient noise of a small one."""

import math

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._serialization import SavedDraws
from keras_bigbatch._typing import Tensor


class GradientNoise(SavedDraws, keras.layers.Layer):
    """Draws a weight for each sample of a batch, from `N(1, variance)`.

    It is a layer because Keras finds and saves layers, and with them the state of the draws.

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
