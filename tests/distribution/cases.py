"""What the worker processes share: one small problem, and how far two trainings are apart."""

import json
import sys

import keras
import numpy as np

import keras_bigbatch as kbb

BATCH = 32  # of all replicas together
SAMPLES = 64
MODES = ("sequential", "mean", "batch")


def images(samples=SAMPLES):
    """Images whose scale varies from one to the next, so that no two ghost batches are alike."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, 8, 8, 3)) * rng.uniform(0.2, 3, (samples, 1, 1, 1))
    return x.astype("float32"), rng.integers(0, 5, samples)


def conv_model(statistics="sequential", virtual_batch=4, norm=None, blocks=1):
    """Convolutions with ghost batch norm, and a classifier; the same weights each time."""
    keras.utils.set_random_seed(1)
    stack = [keras.Input((8, 8, 3))]
    for _ in range(blocks):
        stack += [
            keras.layers.Conv2D(6, 3, padding="same", use_bias=False),
            norm() if norm else ghost(statistics, virtual_batch),
            keras.layers.ReLU(),
        ]
    return keras.Sequential([*stack, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)])


def dense_model(virtual_batch=4):
    """Two layers with ghost batch norm for feature vectors; the same weights each time."""
    keras.utils.set_random_seed(1)
    stack = []
    for _ in range(2):
        stack += [keras.layers.Dense(24, use_bias=False), ghost(virtual_batch=virtual_batch)]
        stack += [keras.layers.ReLU()]
    return keras.Sequential([keras.Input((192,)), *stack, keras.layers.Dense(5)])


def two_outputs():
    """A dense network with two classifiers; the same weights each time."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Dense(16, "tanh")(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, [keras.layers.Dense(5, name=name)(hidden) for name in "ab"])


def ghost(statistics="sequential", virtual_batch=4):
    return kbb.GhostBatchNormalization(virtual_batch, momentum=0.9, statistics=statistics)


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def sgd(learning_rate=0.1, **options):
    return keras.optimizers.SGD(learning_rate, momentum=0.9, **options)


def compiled(model, optimizer=None, **options):
    losses = [loss() for _ in model.outputs]
    model.compile(optimizer or sgd(), losses if len(losses) > 1 else losses[0], **options)
    return model


def fit(model, x=None, y=None, epochs=2, batch=BATCH, **options):
    """Fits without shuffling; the history."""
    if x is None:
        x, y = images()
    options = {"shuffle": False, "verbose": 0, "batch_size": batch, **options}
    return model.fit(x, y, epochs=epochs, **options)


def apart(a, b):
    """The largest difference between two models' weights, moving statistics included."""
    a, b = (each.get_weights() if hasattr(each, "get_weights") else each for each in (a, b))
    return max(float(np.abs(p - q).max()) for p, q in zip(a, b, strict=True))


def finite(model):
    return all(bool(np.isfinite(w).all()) for w in model.get_weights())


def moving(model):
    """The moving mean and variance of the first normalization, as arrays."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            return [keras.ops.convert_to_numpy(w) for w in layer.non_trainable_variables]
    raise ValueError("no normalization")


def report(results):
    """Prints what a worker found, where `processes.py` looks for it."""
    print("\nRESULTS " + json.dumps(results), flush=True)
    sys.stdout.flush()
