"""One small model in the three forms that Keras has, and how to train it comparably."""

import keras
import numpy as np
import pytest

BATCH = 32
FORMS = ("sequential", "functional", "subclassed")

# With torch 2.13 they pass there too, if torch's own warnings are no errors.
compiles = pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="torch's compiler takes 10 to 60 s a test"
)
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
