"""Whole `fit` steps of a residual network, with each of the normalization layers."""

from _contenders import loop_layer
from _measure import in_turn, ratios

BATCH, VIRTUAL_BATCH, STEPS = 256, 32, 4


def measure(keras, rounds, clock, jit, most_seconds=150):
    """Keras's milliseconds a step, and the ratios to it; `none` is without normalization."""
    import numpy as np

    from keras_bigbatch.layers import to_ghost

    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * STEPS, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, BATCH * STEPS)
    plain = resnet8(keras, lambda: keras.layers.BatchNormalization())
    models = {
        "Keras": plain,
        "ghost": to_ghost(plain, VIRTUAL_BATCH),
        "none": resnet8(keras, lambda: keras.layers.Identity()),
    }
    if keras.backend.backend() != "tensorflow":  # It traces for any batch; the loop needs one.
        models["loop"] = resnet8(keras, lambda: loop_layer(keras, VIRTUAL_BATCH))
    for model in models.values():
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(
            keras.optimizers.SGD(0.01, momentum=0.9), loss, jit_compile=True if jit else "auto"
        )

    def epoch(model):
        return lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0, shuffle=False)

    steps = {name: epoch(model) for name, model in models.items()}
    seconds = in_turn(steps, rounds, clock, most_seconds)
    return ratios({name: [s / STEPS for s in times] for name, times in seconds.items()})


def resnet8(keras, normalization):
    """Three residual blocks of two convolutions, for 32 x 32 pictures (He et al., 2016, n = 1)."""
    layers = keras.layers

    def convolution(x, filters, strides=1, size=3):
        return layers.Conv2D(filters, size, strides, padding="same", use_bias=False)(x)

    inputs = layers.Input((32, 32, 3))
    x = layers.ReLU()(normalization()(convolution(inputs, 16)))
    for filters in (16, 32, 64):
        strides = 1 if filters == 16 else 2
        shortcut = x if strides == 1 else convolution(x, filters, strides, size=1)
        x = layers.ReLU()(normalization()(convolution(x, filters, strides)))
        x = normalization()(convolution(x, filters))
        x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10)(x))
