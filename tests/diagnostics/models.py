"""Small models, what is to stay as it was in them, and their derivatives in NumPy float64."""

import random

import keras
import numpy as np

import keras_bigbatch as kbb
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss

RNG = np.random.default_rng(3)
X = RNG.normal(size=(50, 4)).astype("float32")
Y = np.stack([np.sin(X @ [1, 2, -1, 0.5]), X[:, 0] * X[:, 1]], 1).astype("float32")


def dense(width=12, loss="mse", **options):
    """Dense, tanh, Dense: 7 * width + 2 weights."""
    layers = keras.layers
    keras.utils.set_random_seed(1)
    hidden = layers.Dense(width, "tanh", bias_initializer="random_normal", **options)
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
    return model


def normalized(layer=None, dropout=0.3):
    """With batch norm, Dropout, a regularizer, an activity regularizer and a metric.

    In Keras 3.10 an activity regularizer is a sum over the batch, so compare equal batches.
    """
    layers = keras.layers
    keras.utils.set_random_seed(2)
    stack = [
        layers.Dense(6, kernel_regularizer=keras.regularizers.L2(0.01)),
        layer or kbb.GhostBatchNormalization(8, momentum=0.9),
        layers.Activation("tanh", activity_regularizer=keras.regularizers.L2(0.02)),
        layers.Dropout(dropout, seed=4),
        layers.Dense(2),
    ]
    model = keras.Sequential([keras.Input((4,)), *stack])
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    return model


def two_headed():
    """A dictionary of inputs, two outputs, weights of the losses."""
    layers = keras.layers
    keras.utils.set_random_seed(3)
    inputs = {"left": keras.Input((2,), name="left"), "right": keras.Input((2,), name="right")}
    joined = layers.Concatenate()([inputs["left"], inputs["right"]])
    hidden = layers.Dense(5, "tanh")(joined)
    outputs = {
        "value": layers.Dense(1, name="value")(hidden),
        "kind": layers.Dense(3, name="kind")(hidden),
    }
    model = keras.Model(inputs, outputs)
    loss = {
        "value": "mse",
        "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    }
    model.compile("sgd", loss, loss_weights={"value": 0.5, "kind": 2.0}, metrics={"kind": "acc"})
    return model


def two_headed_data():
    x = {"left": X[:, :2], "right": X[:, 2:]}
    y = {"value": Y[:, :1], "kind": (np.arange(len(X)) % 3).astype("int32")}
    return x, y


@keras.saving.register_keras_serializable("keras_bigbatch_tests")
class OwnLoss(keras.Model):
    """A subclass without a `training` argument, with `add_loss` and a loss of its own."""

    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(5, "tanh")
        self.last = keras.layers.Dense(2)

    def call(self, inputs):
        hidden = self.first(inputs)
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(hidden)))
        return self.last(hidden)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        own = super().compute_loss(x, y, y_pred, sample_weight, training)
        return own + 0.2 * keras.ops.mean(keras.ops.abs(y_pred))


def subclassed():
    keras.utils.set_random_seed(5)
    model = OwnLoss()
    model(X[:2])
    model.compile("sgd", "mse")
    return model


def dataset_loss(model, x, y=None, *, mode="inference", **options):
    return DatasetLoss(model, Batches(x, y, **options), mode)


def everything_of(model):
    """All that a measurement must not change, as bytes and flags."""
    variables = [*model.variables, *model.metrics_variables, *model.optimizer.variables]
    layers = [model, *model._flatten_layers(include_self=False)]
    state = {
        "values": [keras.ops.convert_to_numpy(v).tobytes() for v in variables],
        "flags": [(layer.trainable, layer.built, layer.dtype_policy.name) for layer in layers],
        "variable flags": [v.trainable for v in variables],
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
    }
    if keras.backend.backend() == "torch":
        import torch

        state["torch"] = torch.get_rng_state().numpy().tobytes()
        state["requires grad"] = [v.value.requires_grad for v in variables]
        state["gradients"] = [v.value.grad is None for v in variables]
    return state


def flat_weights(model):
    values = [keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]
    return np.concatenate(values).astype(np.float64)


def numpy_gradient(weights, width=12, x=X, y=Y, sample_weight=None):
    """Loss and gradient of `dense` with the mean squared error."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    ends = np.cumsum([4 * width, width, 2 * width])
    first, first_bias, last, last_bias = np.split(weights, ends)
    first, last = first.reshape(4, width), last.reshape(width, 2)
    hidden = np.tanh(x @ first + first_bias)
    error = hidden @ last + last_bias - y
    share = np.ones(len(x)) if sample_weight is None else sample_weight
    loss = (share[:, None] * error**2).mean()
    d_out = 2 * share[:, None] * error / error.size
    d_hidden = d_out @ last.T * (1 - hidden**2)
    parts = [x.T @ d_hidden, d_hidden.sum(0), hidden.T @ d_out, d_out.sum(0)]
    return loss, np.concatenate([part.ravel() for part in parts])


def numpy_hessian(gradient, weights, step=1e-5):
    """Central differences of a gradient, in float64 exact to nine digits or so."""
    rows = []
    for direction in np.eye(len(weights)):
        ahead, behind = gradient(weights + step * direction), gradient(weights - step * direction)
        rows.append((ahead - behind) / (2 * step))
    hessian = np.array(rows)
    return (hessian + hessian.T) / 2
