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


def input_hessian_product(layer, x, dy, v):
    """The second derivative of `sum(layer(x) * dy)` to x, times `v`, in training."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        values = [variable.value for variable in layer.trainable_variables]
        moving = [variable.value for variable in layer.non_trainable_variables]

        def forward(inputs):
            y, _ = layer.stateless_call(values, moving, inputs, training=True)
            return keras.ops.sum(y * dy)

        product = jax.jit(lambda x, v: jax.jvp(jax.grad(forward), (x,), (v,))[1])(x, v)
    elif backend == "torch":
        import torch

        inputs = keras.ops.convert_to_tensor(x).clone().requires_grad_(True)
        y = layer(inputs, training=True)
        loss = (y * keras.ops.convert_to_tensor(dy)).sum()
        (gradient,) = torch.autograd.grad(loss, inputs, create_graph=True)
        product = torch.autograd.grad((gradient * keras.ops.convert_to_tensor(v)).sum(), inputs)[0]
    else:
        import tensorflow as tf

        inputs = tf.convert_to_tensor(x)
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                loss = tf.reduce_sum(layer(inputs, training=True) * dy)
            along = tf.reduce_sum(inner.gradient(loss, inputs) * v)
        product = outer.gradient(along, inputs)
    return keras.ops.convert_to_numpy(product)
