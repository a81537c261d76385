"""A model, its data and a step of it, for the tests of LargeBatchModel."""

import keras
import numpy as np

from keras_bigbatch.training import LargeBatchModel

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(24, 5)).astype("float32")
Y = _RNG.normal(size=(24, 2)).astype("float32")


def plain_model(seed=1):
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = layers.Input((5,))
    hidden = layers.Dense(4, "tanh", kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    return keras.Model(inputs, layers.Dense(2)(hidden))


def large(seed=1, **options):
    plain = plain_model(seed)
    return LargeBatchModel(plain.inputs, plain.outputs, **options)


def one_step(model, x=X, y=Y, loss="mse", rate=0.1, **fit_options):
    """The change of the weights by one update of plain SGD."""
    model.compile(keras.optimizers.SGD(rate), loss)
    before = layer_weights(model)
    model.fit(x, y, batch_size=len(x), epochs=1, verbose=0, shuffle=False, **fit_options)
    return [(new - old) / rate for new, old in zip(layer_weights(model), before, strict=True)]


def layer_weights(model):
    """Copies, without the model's own counter."""
    return [keras.ops.convert_to_numpy(v).copy() for v in model.trainable_variables]


def sample_losses(model, x=X, y=Y):
    return np.mean((model.predict(x, verbose=0) - y) ** 2, axis=-1)


def assert_close(a, b, **tolerance):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, **{"rtol": 1e-5, "atol": 1e-6, **tolerance})
