"""What a training step keeps for its backward pass beside the input, in bytes."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch.layers import GhostBatchNormalization

BACKEND = keras.backend.backend()


@pytest.mark.skipif(BACKEND != "jax", reason="JAX's compiler reports temporaries")
@pytest.mark.parametrize("batch", [512, 500])
def test_jax_needs_no_temporary_of_full_size(batch):
    import jax

    x = np.zeros((batch, 8, 8, 64), "float32")
    layer = GhostBatchNormalization(32)
    layer.build(x.shape)
    values = [v.value for v in layer.trainable_variables]
    moving = [v.value for v in layer.non_trainable_variables]

    def step(values, x, dy):
        def forward(values, x):
            return layer.stateless_call(values, moving, x, training=True)

        y, backward, moved = jax.vjp(forward, values, x, has_aux=True)
        y, dy = jax.lax.optimization_barrier((y, dy))
        return y, backward(dy), moved

    memory = jax.jit(step).lower(values, x, x).compile().memory_analysis()
    # y and the gradient to x are outputs, the input and dy arguments: 4 S and no more.
    assert memory.temp_size_in_bytes <= 0.25 * x.nbytes
    assert memory.output_size_in_bytes <= 2.05 * x.nbytes


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's graphs show what is captured")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tensorflow_keeps_the_input_alone(dtype):
    import tensorflow as tf

    x = ops.cast(np.ones((64, 8, 8, 16)), dtype)

    @tf.function
    def forward(inputs):
        y, _ = _backend.active().ghost_norm.ghost_normalize(
            inputs, ops.ones(16), ops.zeros(16), 16, 3, 1e-3
        )
        return tf.cast(y, inputs.dtype)

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = forward(x)
    # The backward function of a traced one takes what the forward one kept.
    kept = {}

    def backward(dy):
        return tape.gradient(y, x, output_gradients=dy)

    graph = tf.function(backward).get_concrete_function(tf.TensorSpec(y.shape, y.dtype))
    for tensor, _ in graph.graph.captures:
        # By place in memory: the same tensor can be kept under two names.
        memory = np.asarray(tf.bitcast(tensor, "uint8"))
        kept[memory.ctypes.data] = memory.nbytes
    full = np.asarray(x).nbytes
    assert kept.pop(np.asarray(tf.bitcast(x, "uint8")).ctypes.data) == full
    assert sum(kept.values()) <= 0.1 * full


@pytest.mark.skipif(BACKEND != "torch", reason="torch alone reports what it keeps")
@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_of_full_size_is_kept_but_the_input(dtype):
    import torch

    x = ops.cast(np.random.default_rng(0).normal(size=(64, 8, 8, 16)), dtype).requires_grad_()
    layer = GhostBatchNormalization(16, dtype="float32" if dtype == "float32" else "mixed_bfloat16")
    layer.build(x.shape)
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x, training=True)
    own = x.untyped_storage()
    assert kept.pop(own.data_ptr()) == own.nbytes()
    assert sum(kept.values()) <= 0.1 * own.nbytes()
