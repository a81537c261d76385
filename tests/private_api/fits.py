"""A small model, a short fit and a few updates, for the tests beside this file."""

import keras
import numpy as np

X, Y = np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2), np.ones((8, 1), "float32")


def model_of(optimizer=None, **options):
    layers = [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")]
    model = keras.Sequential(layers)
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **options)
    return model


def fitted(model, **options):
    model.fit(X, Y, **{"batch_size": 4, "shuffle": False, "verbose": 0, **options})
    return model


def applied(optimizer, gradient=1.0, updates=1):
    """A variable of ones after updates with this gradient for each element."""
    variable = keras.Variable(np.ones(3, "float32"))
    for _ in range(updates):
        optimizer.apply([keras.ops.full((3,), gradient)], [variable])
    return keras.ops.convert_to_numpy(variable)
