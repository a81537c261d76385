"""Methods of a subclass are called on every backend, whatever faster way there is without them."""

import keras
import numpy as np
import pytest

from keras_bigbatch.optimizers import LARS, ClipFirstUpdates
from tests.optimizers.steps import assert_close, stepped, weights_and_gradients

FAST = {"learning_rate": 0.05, "trust_coefficient": 0.2, "weight_decay": 1e-3}
METHODS = ["update_step", "assign", "assign_add", "trust_ratio", "apply", "build"]
METHODS += ["_clip_gradients", "_apply_weight_decay", "_backend_update_step", "_use_weight_decay"]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_of_a_subclass_is_called(method):
    weights, gradients = weights_and_gradients(2)
    calls = []

    def counted(self, *args, **kwargs):
        calls.append(args)
        return getattr(LARS, method)(self, *args, **kwargs)

    optimizer = type("Counted", (LARS,), {method: counted})(**FAST)
    found = stepped(optimizer, weights, gradients)
    assert calls
    assert_close(found, stepped(LARS(**FAST), weights, gradients), rtol=1e-5, atol=1e-6)


class Halved(LARS):
    """Moves the kernels by half the gradient, and nothing else."""

    def update_step(self, gradient, variable, learning_rate):
        if len(variable.shape) > 1:
            self.assign_add(variable, -0.5 * gradient)


@pytest.mark.parametrize("around", [None, ClipFirstUpdates, keras.optimizers.LossScaleOptimizer])
def test_a_step_of_its_own_is_the_step(around):
    weights, gradients = weights_and_gradients(1)
    optimizer = Halved(**FAST)
    if around is ClipFirstUpdates:
        optimizer = around(optimizer, global_clipnorm=1e6)
    elif around:
        optimizer = around(optimizer, initial_scale=1.0)
    found = stepped(optimizer, weights, gradients)
    for path, value in found.items():
        moved = 0.5 * gradients[0][path] if path.endswith("kernel") else 0.0
        np.testing.assert_allclose(value, weights[path] - moved, rtol=1e-6)


def test_a_step_put_on_the_object_is_the_step():
    weights, gradients = weights_and_gradients(1)
    optimizer = LARS(**FAST)
    optimizer.update_step = lambda gradient, variable, learning_rate: None
    assert_close(stepped(optimizer, weights, gradients), weights, rtol=0, atol=0)


def test_fit_makes_the_step_of_a_subclass():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    start = model.get_weights()[0]
    model.compile(Halved(**FAST), loss=lambda _, output: output)
    model.fit(np.ones((8, 3), "float32"), np.ones((8, 1), "float32"), verbose=0)
    np.testing.assert_allclose(model.get_weights()[0], start - 0.5, rtol=1e-6)
