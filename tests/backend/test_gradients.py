"""The derivatives of pure functions: closed forms, on each backend."""

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from tests.diagnostics import models

A = np.random.default_rng(0).normal(size=(3, 3)).astype("float32")
W = np.array([0.5, -1.0, 2.0], "float32")
U = np.array([[1.5, -0.5]], "float32")
V = [np.array([1.0, 2.0, -1.0], "float32"), np.array([[0.3, 0.7]], "float32")]


def cubic(values, scale):
    """`scale * (w' A w + sum w^3) + product of u`; its derivatives are below."""
    w, u = values
    ops = keras.ops
    return scale * (ops.sum(w * ops.matmul(A, w)) + ops.sum(w**3)) + u[0, 0] * u[0, 1]


def tensors(arrays):
    return [keras.ops.convert_to_tensor(array) for array in arrays]


def arrays(values):
    return [keras.ops.convert_to_numpy(value) for value in values]


def scale():
    return keras.ops.convert_to_tensor(np.float32(2.0))


@pytest.mark.parametrize("eager", [True, False])
def test_derivatives_of_a_cubic(eager):
    backend = _backend.active().gradients
    model = models.dense()
    model.run_eagerly = eager
    both = backend.compiled(backend.value_and_gradient(cubic), model)
    value, gradient = both(tensors([W, U]), scale())
    expected = 2 * (W @ A @ W + (W**3).sum()) + U.prod()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), expected, rtol=1e-5)
    gradient = arrays(gradient)
    np.testing.assert_allclose(gradient[0], 2 * ((A + A.T) @ W + 3 * W**2), rtol=1e-5)
    np.testing.assert_allclose(gradient[1], U[:, ::-1], rtol=1e-6)
    product = backend.compiled(backend.hessian_vector_product(cubic), model)
    product = arrays(product(tensors([W, U]), tensors(V), scale()))
    np.testing.assert_allclose(product[0], 2 * ((A + A.T) @ V[0] + 6 * W * V[0]), rtol=1e-5)
    np.testing.assert_allclose(product[1], V[1][:, ::-1], rtol=1e-6)


def test_results_come_with_the_gradient_and_without_a_graph():
    def with_results(values):
        return keras.ops.sum(values[0] ** 2), {"twice": 2 * values[0], "nothing": None}

    gradient_of = _backend.active().gradients.gradient_and_results(with_results)
    results, gradient = gradient_of(tensors([W, U]))
    np.testing.assert_allclose(arrays(gradient)[0], 2 * W)
    assert (arrays(gradient)[1] == np.zeros_like(U)).all()
    assert results["nothing"] is None
    np.testing.assert_allclose(keras.ops.convert_to_numpy(results["twice"]), 2 * W)
    assert not getattr(results["twice"], "requires_grad", False)


def test_what_does_not_matter_has_the_derivative_zero():
    backend = _backend.active().gradients

    def ignores_the_second(values):
        return keras.ops.sum(values[0] ** 2)

    _, gradient = backend.value_and_gradient(ignores_the_second)(tensors([W, U]))
    assert (arrays(gradient)[1] == np.zeros_like(U)).all()
    product = backend.hessian_vector_product(ignores_the_second)(tensors([W, U]), tensors(V))
    np.testing.assert_allclose(arrays(product)[0], 2 * V[0])
    assert (arrays(product)[1] == np.zeros_like(U)).all()


@pytest.mark.parametrize("function", [lambda v: keras.ops.sum(3 * v[0]), lambda v: v[1][0, 0]])
def test_a_linear_function_has_no_second_derivative(function):
    backend = _backend.active().gradients
    product = backend.hessian_vector_product(function)(tensors([W, U]), tensors(V))
    assert all((part == 0).all() for part in arrays(product))


def test_inputs_stay_as_they_are():
    backend = _backend.active().gradients
    values = tensors([W, U])
    backend.hessian_vector_product(cubic)(values, tensors(V), scale())
    backend.value_and_gradient(cubic)(values, scale())
    np.testing.assert_array_equal(arrays(values)[0], W)
    assert not any(getattr(value, "requires_grad", False) for value in values)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="only torch has such layers")
def test_weights_that_keras_does_not_pass_are_refused():
    import torch

    wrapper = keras.layers.TorchModuleWrapper(torch.nn.Linear(4, 2), output_shape=(None, 2))
    model = keras.Sequential([keras.Input((4,)), wrapper])
    with pytest.raises(ValueError, match="TorchModuleWrapper"):
        _backend.active().gradients.check_differentiable(model)
