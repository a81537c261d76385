"""What layer-wise optimizers compute from a whole tensor, on TensorFlow, and a step in one pass."""

from functools import partial

import keras
import tensorflow as tf

from keras_bigbatch._backend._protocol import MomentumOptimizer
from keras_bigbatch._backend.reference import optimizer as reference
from keras_bigbatch._backend.reference.optimizer import update_together as update_together
from keras_bigbatch._backend.reference.optimizer import usable_factor as usable_factor
from keras_bigbatch._typing import Tensor


def dense(gradient: Tensor) -> Tensor:
    """The gradient as a plain tensor; an embedding's comes as the rows that were looked up."""
    return tf.convert_to_tensor(gradient)


# `fit` builds the optimizer inside its first step.
at_once = tf.init_scope


def all_zero(variable: keras.Variable) -> bool:
    """By the value outside of the step that is traced."""
    if not tf.executing_eagerly():
        return False
    value = tf.convert_to_tensor(_native(variable))
    return not bool(tf.reduce_any(value != 0))


def squared_norm(tensor: Tensor) -> Tensor:
    """By `l2_loss`, half of it in one operation without a tensor of squares."""
    wide = tf.float64 if tensor.dtype == tf.float64 else tf.float32
    return 2.0 * tf.nn.l2_loss(tf.cast(tensor, wide))


clip_where = partial(reference.clip_by_branch, squared_norm=squared_norm)


def norm(tensor: Tensor) -> Tensor:
    """By `squared_norm`."""
    return tf.sqrt(squared_norm(tensor))


def median_magnitude(tensor: Tensor) -> Tensor:
    """On a CPU bit by bit, in 31 passes (63 for float64), which beat a sort."""
    if any(device.device_type != "CPU" for device in tf.config.list_physical_devices()):
        # There TensorFlow sorts fast, and keeps much of what is done with int32 on the host.
        return reference.median_magnitude(tensor)
    integer = tf.int64 if tensor.dtype == tf.float64 else tf.int32
    # Integers are in the order of the magnitudes that have the same bits; NaN is above infinity.
    magnitudes = tf.bitcast(tf.abs(tensor), integer)
    size = tf.size(magnitudes)

    def count(condition: Tensor) -> Tensor:
        return tf.reduce_sum(tf.cast(condition, tf.int32))

    def one_bit(unit: Tensor, lower: Tensor) -> tuple[Tensor, Tensor]:
        is_less = count(magnitudes < lower + unit) < (size + 1) // 2
        return unit // 2, tf.where(is_less, lower + unit, lower)

    start = tf.constant(integer.max // 2 + 1, integer), tf.constant(0, integer)
    _, lower = tf.while_loop(lambda unit, _: unit > 0, one_bit, start)
    above = tf.reduce_min(tf.where(magnitudes > lower, magnitudes, integer.max))
    upper = tf.where(count(magnitudes <= lower) > size // 2, lower, above)
    top = tf.reduce_max(magnitudes)
    lower, upper, top = (tf.bitcast(each, tensor.dtype) for each in (lower, upper, top))
    return tf.where(tf.math.is_nan(top), top, 0.5 * lower + 0.5 * upper)


def momentum_step(
    optimizer: MomentumOptimizer,
    variable: keras.Variable,
    velocity: keras.Variable | None,
    factor: Tensor,
    rate: Tensor,
    update: Tensor,
) -> None:
    """In TensorFlow's own operation where it fits: one pass instead of five."""
    scaled = tf.convert_to_tensor(factor * rate)
    weight = _native(variable)
    fits = optimizer.rate_in_momentum and weight.dtype == update.dtype and scaled.shape.rank == 0
    if velocity is None or not fits or not optimizer._keeps("assign", "assign_add"):
        reference.momentum_step(optimizer, variable, velocity, factor, rate, update)
        return
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=weight.handle,
        accum=velocity.value.handle,
        lr=scaled,
        grad=update,
        momentum=tf.constant(optimizer.momentum, update.dtype),
        use_nesterov=optimizer.nesterov,
    )


def _native(variable: keras.Variable) -> Tensor:
    """The variable as TensorFlow has it: Keras gives optimizers both kinds."""
    return variable.value if isinstance(variable, keras.Variable) else variable
