"""One small model in the three forms that Keras has, and how to train it comparably."""

import functools
from typing import NamedTuple

import keras
import numpy as np
import pytest

BATCH = 32
FORMS = ("sequential", "functional", "subclassed")
# Weights after a few updates, computed in another order: one float32 rounding each.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}

# With torch 2.13 they pass there too, if torch's own warnings are no errors.
compiles = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="torch's compiler takes 10 to 60 s a test"
)
AUTO_JIT = keras.backend.backend() == "jax"  # what "auto" means for such models on a CPU
JIT = [False, pytest.param(True, marks=compiles)]  # values of `jit_compile`


@keras.saving.register_keras_serializable("keras_bigbatch_tests")
class Subclassed(keras.Model):
    """The model of `model_of` as a subclass that saves its layer by its config."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(6, activation="tanh")
        self.layer = layer
        self.last = keras.layers.Dense(1)

    def call(self, inputs, training=None):
        return self.last(self.layer(self.first(inputs), training=training))

    def get_config(self):
        return {"layer": keras.saving.serialize_keras_object(self.layer), "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["layer"]), name=config["name"])


def data(samples=4 * BATCH):
    x = np.random.default_rng(5).normal(size=(samples, 4)).astype("float32")
    return x, x[:, :1] - 2 * x[:, 1:2] ** 2


def model_of(layer, form="sequential"):
    """Dense, `layer`, Dense in one of the three forms, with the same weights in each."""
    keras.utils.set_random_seed(7)
    if form == "subclassed":
        model = Subclassed(layer)
        model(data(2)[0])
        return model
    stack = [keras.layers.Dense(6, activation="tanh"), layer, keras.layers.Dense(1)]
    if form == "sequential":
        return keras.Sequential([keras.Input((4,)), *stack])
    inputs = outputs = keras.Input((4,))
    for each in stack:
        outputs = each(outputs)
    return keras.Model(inputs, outputs)


def plain_layer():
    return keras.layers.Activation("relu")


def trained(model, optimizer=None, jit="auto", batch=BATCH, callbacks=None):
    """Fits for two epochs without shuffling, so that runs can be compared."""
    optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, "mse", jit_compile=jit)
    x, y = data()
    model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0, callbacks=callbacks)
    return model


def predicted(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False)).astype("float32")


def updates(optimizer):
    return int(keras.ops.convert_to_numpy(optimizer.iterations))


class Outcome(NamedTuple):
    """What a training came to."""

    weights: list
    predictions: np.ndarray
    updates: int

    def get_weights(self):
        return self.weights


@functools.cache
def reference(layer=plain_layer, optimizer=None, form="sequential", jit="auto"):
    """The outcome of `trained`, computed once for all tests that compare another one with it.

    `layer` and `optimizer` are functions that make them.
    """
    model = model_of(layer(), form)
    assert keras.config.dtype_policy().name == "float32"
    trained(model, optimizer and optimizer(), jit=jit)
    assert jit != "auto" or model.jit_compile is AUTO_JIT
    return Outcome(model.get_weights(), predicted(model, data()[0]), updates(model.optimizer))


def refitted(model):
    x, y = data()
    model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)
    return model


def assert_same_weights(model, other, **tolerance):
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)
