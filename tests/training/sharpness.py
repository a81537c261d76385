"""A small network, its gradient in NumPy float64, and the step that its weights should make."""

import keras
import numpy as np

from keras_bigbatch.training import sharpness_aware
from tests.oracles import ghost_groups

_RNG = np.random.default_rng(0)
X = _RNG.normal(size=(12, 3)).astype("float32")
Y = _RNG.normal(size=(12, 2)).astype("float32")
RATE = 0.1


def network(radius=0.3, **options):
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, "tanh"), keras.layers.Dense(2, use_bias=False)]
    return sharpness_aware(keras.Sequential([keras.Input((3,)), *layers]), radius, **options)


def loss_and_gradient(weights, x, y, sample_weight):
    """Of `mean(sample_weight * squared error)` of `network`."""
    kernel, bias, last = (np.asarray(w, np.float64) for w in weights)
    hidden = np.tanh(x @ kernel + bias)
    error = hidden @ last - y
    loss = np.mean(sample_weight[:, None] * error**2)
    back = 2 * sample_weight[:, None] * error / error.size
    inner = (back @ last.T) * (1 - hidden**2)
    return loss, [x.T @ inner, inner.sum(0), hidden.T @ back]


def oracle(weights, radius, adaptive, virtual_batch, sample_weight):
    """The loss at the weights, and the gradient that the optimizer should get."""
    losses, total = 0.0, [0.0, 0.0, 0.0]
    for group in ghost_groups(len(X), virtual_batch or len(X)):
        data = X[group], Y[group], sample_weight[group]
        loss, gradient = loss_and_gradient(weights, *data)
        scales = [np.abs(w) if adaptive else np.ones_like(w) for w in weights]
        scaled = [s * g for s, g in zip(scales, gradient, strict=True)]
        norm = np.sqrt(sum((each**2).sum() for each in scaled))
        there = [
            w + radius * s * each / norm for w, s, each in zip(weights, scales, scaled, strict=True)
        ]
        share = len(data[0]) / len(X)
        losses += share * loss
        second = loss_and_gradient(there, *data)[1]
        total = [a + share * b for a, b in zip(total, second, strict=True)]
    return losses, total


def step(model, x=X, y=Y, loss="mse", compiled=None, **fit_options):
    """The gradient that one update of plain SGD got, and what `fit` reported."""
    model.compile(keras.optimizers.SGD(RATE), loss, **(compiled or {}))
    before = trainable(model)
    options = {"batch_size": len(x), "shuffle": False, "verbose": 0, **fit_options}
    history = model.fit(x, y, **options).history
    return [(a - b) / RATE for a, b in zip(before, trainable(model), strict=True)], history


def trainable(model):
    return [keras.ops.convert_to_numpy(v).astype("float64") for v in model.trainable_variables]


def assert_close(a, b, **tolerance):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one, other, **{"rtol": 1e-4, "atol": 1e-5, **tolerance})
