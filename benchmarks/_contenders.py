"""The normalization layers that are compared, and one training step of each."""

import importlib.util


def layers_of(keras, case, jit):
    """Built layers by name, the one to compare with first.

    - `ghost`: ours.
    - `loop`: plain batch norm on each part of the batch, as Composer and TabNet write it.
    - `tf-keras`: Keras 2's `virtual_batch_size`, which needs a batch that it divides.
    - `native`: the framework's own batch norm over the whole batch. It has no ghost batches, and
      its variance may be E[x^2] - E[x]^2: a yardstick, not a replacement. JAX has none.
    - `relu`: an activation, which reads and writes every number once: what the memory allows.
    """
    from keras_bigbatch import GhostBatchNormalization

    backend = keras.backend.backend()
    shape, axis, virtual_batch, precision = case
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    options = {"axis": axis, "dtype": policy}
    layers = {
        "Keras": keras.layers.BatchNormalization(**options),
        "ghost": GhostBatchNormalization(virtual_batch, **options),
    }
    groups, tail = divmod(shape[0], virtual_batch)
    if groups > 1 and not tail:
        layers["loop"] = loop_layer(keras, virtual_batch, **options)
        if backend == "tensorflow" and importlib.util.find_spec("tf_keras"):
            import tf_keras

            two = tf_keras.layers.BatchNormalization
            policy = tf_keras.mixed_precision.Policy(policy)
            layers["tf-keras"] = two(axis=axis, virtual_batch_size=virtual_batch, dtype=policy)
    # On a CPU, TensorFlow's fused kernel has channels last only; XLA's has both.
    if backend == "torch" or (backend == "tensorflow" and (axis == -1 or jit)):
        layers["native"] = native_layer(keras, **options)
    layers["relu"] = relu_layer(keras, dtype=options["dtype"])
    for layer in layers.values():
        layer.build(shape)
    return layers


def loop_layer(keras, virtual_batch, **options):
    """Plain batch norm on each part of the batch."""

    class Loop(keras.layers.BatchNormalization):
        def call(self, inputs, training=None):
            groups = inputs.shape[0] // virtual_batch
            cuts = [i * virtual_batch for i in range(1, groups)]
            parts = keras.ops.split(inputs, cuts)
            call = super().call
            return keras.ops.concatenate([call(part, training=training) for part in parts])

    return Loop(**options)


def relu_layer(keras, **options):
    """An activation that takes `training`, as the others do."""

    class Relu(keras.layers.Layer):
        def call(self, inputs, training=None):  # noqa: ARG002
            return keras.ops.relu(inputs)

    return Relu(**options)


def native_layer(keras, **options):
    """The weights of Keras's layer in the framework's own batch norm."""

    class TorchNative(keras.layers.BatchNormalization):
        def call(self, inputs, training=None):
            from torch.nn.functional import batch_norm

            last = inputs.dim() - 1
            y = batch_norm(
                inputs.movedim(self.axis, 1),
                self.moving_mean.value,
                self.moving_variance.value,
                self.gamma.value,
                self.beta.value,
                training,
                1 - self.momentum,
                self.epsilon,
            )
            return y.movedim(1, last) if self.axis in (-1, last) else y

    class TensorFlowNative(keras.layers.BatchNormalization):
        def call(self, inputs, training=None):
            import tensorflow as tf

            dense = len(inputs.shape) == 2
            y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs[:, None, None, :] if dense else inputs,
                tf.convert_to_tensor(self.gamma.value),
                tf.convert_to_tensor(self.beta.value),
                epsilon=self.epsilon,
                data_format="NCHW" if self.axis == 1 and not dense else "NHWC",
                is_training=training,
            )
            for moving, new in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + new * (1 - self.momentum))
            return y[:, 0, 0, :] if dense else y

    classes = {"torch": TorchNative, "tensorflow": TensorFlowNative}
    return classes[keras.backend.backend()](**options)


def step_of(keras, name, layer, case, jit):
    """A function of (x, dy) that makes one step, and a function that waits for its result."""
    backend = keras.backend.backend()
    shape, _, _, precision = case
    if backend == "jax":
        return _jax_step(layer)
    if backend == "torch":
        return _torch_step(layer)
    # `fit` traces for any batch size; these two can only be traced for one.
    batch = shape[0] if name in ("loop", "tf-keras") else None
    return tensorflow_step(keras, layer, (batch, *shape[1:]), precision, jit)


def _jax_step(layer):
    import jax

    variables = [v.value for v in layer.trainable_variables]
    moving = [v.value for v in layer.non_trainable_variables]

    @jax.jit
    def step(x, dy):
        def forward(variables, x):
            return layer.stateless_call(variables, moving, x, training=True)

        y, backward, moved = jax.vjp(forward, variables, x, has_aux=True)
        # Otherwise XLA would fuse the two passes, which a network's other layers separate.
        y, dy = jax.lax.optimization_barrier((y, dy))
        return y, backward(dy), moved

    return step, jax.block_until_ready


def _torch_step(layer):
    import torch

    def step(x, dy):
        x.grad = None
        y = layer(x, training=True)
        y.backward(dy)
        return y

    def wait(y):
        if y.is_cuda:
            torch.cuda.synchronize()

    return step, wait


def tensorflow_step(keras, layer, shape, precision, jit):
    """The step as a graph of that input, and what waits for its results."""
    import tensorflow as tf

    # Keras 2's variables are TensorFlow's.
    values = [v.value if isinstance(v, keras.Variable) else v for v in layer.trainable_variables]

    def traced(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        # With y, which the next layer would need: a graph leaves out what nobody asks for.
        return [y, *tape.gradient(y, [x, *values], output_gradients=dy)]

    spec = tf.TensorSpec(shape, precision)
    step = tf.function(traced, jit_compile=jit, input_signature=[spec, spec])
    return step, lambda parts: [tf.reshape(part, [-1])[0].numpy() for part in parts]
