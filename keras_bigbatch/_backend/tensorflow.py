"""TensorFlow: what `keras.ops` has no (fast enough) word for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_bigbatch._backend.tensorflow_ghost_norm import ghost_normalize as ghost_normalize
from keras_bigbatch._typing import Tensor


def snapshot(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies that do not follow the variables."""
    return [tf.identity(tensor) for tensor in tensors]


def restored(arrays: Sequence[npt.NDArray[np.generic]], like: Sequence[Tensor]) -> list[Tensor]:
    """The arrays as tensors with the types and places of `like`."""
    return [
        tf.cast(tf.convert_to_tensor(array), tensor.dtype)
        for array, tensor in zip(arrays, like, strict=True)
    ]


def squared_distances(
    references: Sequence[Tensor], tensors: Sequence[Tensor]
) -> npt.NDArray[np.float64]:
    """The sum of squared differences of each pair, in one graph call and one copy to the host."""
    # Plain tensors: with variables as arguments each model object would be traced anew.
    values = [tf.convert_to_tensor(tensor) for tensor in tensors]
    return np.asarray(_squared_distances(list(references), values), np.float64)


# At module level, so that its traces outlive a `fit`.
@tf.function
def _squared_distances(references: list[Tensor], tensors: list[Tensor]) -> Tensor:
    sums = []
    widest = tf.float64 if any(tensor.dtype == tf.float64 for tensor in tensors) else tf.float32
    for reference, tensor in zip(references, tensors, strict=True):
        difference = tf.cast(tensor, widest) - tf.cast(reference, widest)
        sums.append(tf.reduce_sum(tf.square(difference)))
    return tf.stack(sums)
