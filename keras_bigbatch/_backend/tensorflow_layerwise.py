"""What layer-wise optimizers need of a whole tensor, on TensorFlow, and a step in one pass."""

from typing import Any

import keras
import tensorflow as tf

from keras_bigbatch._backend import layerwise
from keras_bigbatch._backend.layerwise import median_magnitude as median_magnitude
from keras_bigbatch._backend.layerwise import norm as norm
from keras_bigbatch._backend.layerwise import update_together as update_together
from keras_bigbatch._backend.layerwise import usable_factor as usable_factor
from keras_bigbatch._typing import Tensor

clip_where = layerwise.clip_by_branch


def dense(gradient: Tensor) -> Tensor:
    """The gradient as a plain tensor; an embedding's comes as the rows that were looked up."""
    return tf.convert_to_tensor(gradient)


def squared_norm(tensor: Tensor) -> Tensor:
    """As everywhere. `l2_loss` is half of it in one operation, without a tensor of squares."""
    wide = tf.float64 if tensor.dtype == tf.float64 else tf.float32
    return 2.0 * tf.nn.l2_loss(tf.cast(tensor, wide))


def momentum_step(
    optimizer: Any, variable: Any, velocity: Any, rate: Tensor, update: Tensor
) -> bool:
    """As everywhere, in TensorFlow's own operation: one pass instead of five."""
    rate = tf.convert_to_tensor(rate)
    weight = variable.value if isinstance(variable, keras.Variable) else variable
    fits = optimizer.rate_in_momentum and velocity is not None and weight.dtype == update.dtype
    if not fits or rate.shape.rank != 0:
        return False
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle,
        accum=velocity.value.handle,
        lr=rate,
        grad=update,
        momentum=tf.constant(optimizer.momentum, update.dtype),
        use_nesterov=optimizer.nesterov,
    )
    return True
