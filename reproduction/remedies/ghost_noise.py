"""The noise of small groups' statistics without normalizing by them (Kosson et al., 2305.17205).

After a normal batch norm each sample gets the statistics of `group` samples that are drawn from the
batch with replacement:

    y = (x - mean_of_group) * deviation_of_batch / deviation_of_group + mean_of_batch

No gradient flows through the statistics. In inference it does nothing.
"""

import keras
from keras import ops

EPSILON = 1e-3  # the authors'


class GhostNoise(keras.layers.Layer):
    """A layer behind batch norm; the features are on the last axis.

    Args:
        group: Samples that are drawn for each sample.
        seed: Of the draws.
    """

    def __init__(self, group, seed=None):
        super().__init__()
        self.group = group
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        """The input, in training with the noise."""
        if not training:
            return x
        batch = ops.shape(x)[0]
        drawn = keras.random.randint((batch, self.group), 0, batch, seed=self.seed_generator)
        # How often each sample is in a group, over the group's size: [B, B].
        shares = ops.mean(ops.one_hot(drawn, batch, dtype=x.dtype), axis=1)
        between = tuple(range(1, len(x.shape) - 1))
        still = ops.stop_gradient(x)
        means, squares = (ops.mean(each, axis=between) for each in (still, ops.square(still)))
        mean, variance = _moments(ops.matmul(shares, means), ops.matmul(shares, squares))
        of_batch = _moments(ops.mean(means, axis=0), ops.mean(squares, axis=0))
        scale = ops.sqrt((of_batch[1] + EPSILON) / (variance + EPSILON))
        mean, scale = (ops.expand_dims(each, between) for each in (mean, scale))
        return (x - mean) * scale + of_batch[0]


def _moments(mean, square):
    return mean, ops.maximum(square - ops.square(mean), 0.0)
