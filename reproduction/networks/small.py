"""The network of the demo and of the figures: small enough for a CPU."""

import keras


def network(shape, classes, norm):
    """Three strided convolutions, each followed by a normalization layer."""
    convolution = keras.layers.Conv1D if len(shape) == 2 else keras.layers.Conv2D
    model = keras.Sequential([keras.Input(shape)])
    for width in (5, 3, 3):
        model.add(convolution(32, width, strides=2, padding="same", use_bias=False))
        model.add(norm())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(classes))
    return model
