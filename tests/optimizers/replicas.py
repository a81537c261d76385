"""Run as a script: LARS on two replicas (TensorFlow) or with split weights (JAX) and on one."""

import sys

import keras
import numpy as np

from keras_bigbatch.optimizers import LARS, ClipFirstUpdates

SHAPES = {"kernel": (4, 6), "bias": (6,)}
OPTIONS = {"learning_rate": 0.05, "trust_coefficient": 0.2, "weight_decay": 1e-3}


def values(seed):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in SHAPES.values()]


def fitted(optimizer):
    """Weights and ratios after a few updates of a small model."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, name="split")])
    model.set_weights(values(0))
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(16, 4)).astype("float32"), rng.normal(size=(16, 6)).astype("float32")
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    inner = getattr(model.optimizer, "optimizer", model.optimizer)
    return model.get_weights(), list(inner.trust_ratios.values())


def tensorflow():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(
        ["CPU:0", "CPU:1"], cross_device_ops=tf.distribute.ReductionToOneDevice()
    )
    for make in makers():
        alone = fitted(make())
        with strategy.scope():
            compare(alone, fitted(make()))


def jax():
    devices = keras.distribution.DeviceMesh((1, 2), ["batch", "model"])
    layout = keras.distribution.LayoutMap(devices)
    # Matches the names of all optimizer variables that have a kernel's in them, and of the ratios.
    layout[".*(kernel|trust_ratio).*"] = (None, "model")
    for make in makers():
        keras.distribution.set_distribution(None)
        alone = fitted(make())
        keras.distribution.set_distribution(
            keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
        )
        compare(alone, fitted(make()))


def makers():
    yield lambda: LARS(**OPTIONS)
    yield lambda: LARS(**OPTIONS, rate_in_momentum=False, nesterov=True)
    yield lambda: ClipFirstUpdates(LARS(**OPTIONS), global_clipnorm=1e6)


def compare(one, other):
    (weights, ratios), (other_weights, other_ratios) = one, other
    for a, b in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ratios, other_ratios, rtol=1e-5)
    np.testing.assert_array_less(0, ratios)


if __name__ == "__main__":
    {"tensorflow": tensorflow, "jax": jax}[keras.backend.backend()]()
    sys.stdout.write("the same\n")
