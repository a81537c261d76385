"""A model's weights on TensorFlow: copies of them, and their distance from a reference."""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_bigbatch._backend.reference import weights
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


class WeightMeter(weights.WeightMeter):
    """Measures in one graph call, traced when this is made."""

    def __init__(self, model: keras.Model, variables: Sequence[keras.Variable]) -> None:
        super().__init__(model, variables)
        values = [variable.value for variable in variables]

        # The variables are captured and not passed, and `l2_loss` is half the squared norm in one
        # operation: the time goes into many small arguments and operations, not into the sums.
        def squared_distances(*references: Tensor) -> Tensor:
            sums = []
            for value, reference in zip(values, references, strict=True):
                wide = tf.float64 if value.dtype == tf.float64 else tf.float32
                difference = tf.cast(value, wide) - tf.cast(reference, wide)
                sums.append(tf.cast(tf.nn.l2_loss(difference), tf.float64))
            return 2.0 * tf.stack(sums)

        self._squared_distances = tf.function(
            squared_distances, autograph=False
        ).get_concrete_function(*[tf.TensorSpec(value.shape, value.dtype) for value in values])

    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """In one call and one copy to the host."""
        return np.asarray(self._squared_distances(*references))
