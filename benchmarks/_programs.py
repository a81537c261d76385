"""The training steps that are compiled."""


def norms(shape, virtual_batch, precision):
    """Keras's layer and ours, built."""
    import keras

    from keras_bigbatch import GhostBatchNormalization

    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    layers = {
        "Keras": keras.layers.BatchNormalization(dtype=policy),
        "ghost": GhostBatchNormalization(virtual_batch, dtype=policy),
    }
    for layer in layers.values():
        layer.build(shape)
    return layers


def layer_step(target, layer, shape, precision):
    """Forward, moving statistics and backward of a layer by itself."""
    import jax

    def step(values, moving, x, dy):
        def forward(values, x):
            return layer.stateless_call(values, moving, x, training=True)

        y, backward, moved = jax.vjp(forward, values, x, has_aux=True)
        # Its output is wanted before the gradient comes.
        y, dy = jax.lax.optimization_barrier((y, dy))
        return y, backward(dy), moved

    values, moving = layer.trainable_variables, layer.non_trainable_variables
    data = target.data(shape, precision)
    outputs = (target.parts, ([target.whole] * len(values), target.parts))
    outputs = (*outputs, [target.whole] * len(moving))
    return target.compiled(step, (target.like(values), target.like(moving), data, data), outputs)


def network_step(target, layer, shape, precision):
    """Twice a product, the layer and a ReLU, with the gradients of all weights."""
    import jax
    import jax.numpy as jnp
    import keras

    channels = shape[1]
    values, moving = layer.trainable_variables, layer.non_trainable_variables

    def loss(parameters, moving, x):
        moved = []
        for (values, weights), state in zip(parameters, moving, strict=True):
            x = jnp.dot(x, weights.astype(x.dtype))
            x, state = layer.stateless_call(values, state, x, training=True)
            x = jax.nn.relu(x)
            moved.append(state)
        return jnp.mean(jnp.square(x.astype("float32"))), moved

    weights = keras.ops.zeros((channels, channels))
    parameters = [(target.like(values), target.like([weights])[0])] * 2
    state = [target.like(moving)] * 2
    step = jax.value_and_grad(loss, has_aux=True)
    return target.compiled(step, (parameters, state, target.data(shape, precision)))


def sgd_step(target, model, batch):
    """One update with momentum of an image classifier."""
    import jax
    import keras

    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)

    def loss(values, moving, x, labels):
        outputs, moving = model.stateless_call(values, moving, x, training=True)
        losses = keras.ops.sparse_categorical_crossentropy(labels, outputs)
        return keras.ops.mean(losses), moving

    def step(values, moving, state, x, labels):
        run = jax.value_and_grad(loss, has_aux=True)
        (value, moving), gradients = run(values, moving, x, labels)
        values, state = optimizer.stateless_apply(state, gradients, values)
        return value, values, moving, state

    kept = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    arguments = [target.like(each) for each in kept]
    data = (target.data((batch, *model.input_shape[1:])), target.data((batch,), "int32"))
    outputs = (target.whole, *([target.whole] * len(each) for each in kept))
    options = {"donate_argnums": (0, 1, 2)}
    return target.compiled(step, (*arguments, *data), outputs, **options)
