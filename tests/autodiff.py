"""Gradients on whichever backend runs the tests."""

import keras
import numpy as np


def layer_gradients(layer, x, dy, mask=None):
    """Output of a built layer in training, and its gradients to x and its trainable variables."""
    backend = keras.backend.backend()
    variables = list(layer.trainable_variables)
    if backend == "jax":
        import jax

        moving = list(layer.non_trainable_variables)

        def forward(values, inputs):
            y, state = layer.stateless_call(
                values, [v.value for v in moving], inputs, training=True, mask=mask
            )
            return keras.ops.sum(keras.ops.cast(y, "float32") * dy), (y, state)

        values = [v.value for v in variables]
        run = jax.jit(jax.grad(forward, argnums=(0, 1), has_aux=True))
        (dv, dx), (y, state) = run(values, keras.ops.convert_to_tensor(x))
        for variable, value in zip(moving, state, strict=True):
            variable.assign(value)
    elif backend == "torch":
        inputs = keras.ops.convert_to_tensor(x).clone().requires_grad_(True)
        y = layer(inputs, training=True, mask=mask)
        (y.float() * keras.ops.convert_to_tensor(dy)).sum().backward()
        dx, dv = inputs.grad, [v.value.grad for v in variables]
    else:
        import tensorflow as tf

        inputs = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = layer(inputs, training=True, mask=mask)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * dy)
        dx, *dv = tape.gradient(loss, [inputs, *(v.value for v in variables)])
    to_numpy = keras.ops.convert_to_numpy
    return to_numpy(y), to_numpy(dx), [np.asarray(to_numpy(value)) for value in dv]
