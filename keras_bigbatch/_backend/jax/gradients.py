"""Derivatives of pure functions on JAX."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import keras

from keras_bigbatch._backend._gradients_protocol import F
from keras_bigbatch._typing import Tensor


def compiled(function: F, model: keras.Model, *, draws_anew: bool = False) -> F:  # noqa: ARG001
    """By `jax.jit`, if the model is."""
    return jax.jit(function) if model.jit_compile and not model.run_eagerly else function


def trace(function: Callable[..., object], *arguments: object) -> None:
    """On shapes alone. Operation by operation, XLA would compile each of them."""
    jax.eval_shape(function, *arguments)


def value_and_gradient(
    function: Callable[..., Tensor],
) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    """JAX's own."""
    return jax.value_and_grad(function)


def gradient_and_results(
    function: Callable[..., tuple[Tensor, Any]],
) -> Callable[..., tuple[Any, list[Tensor]]]:
    """JAX's own."""
    with_gradient = jax.value_and_grad(function, has_aux=True)

    def both(values: Sequence[Tensor], *rest: object) -> tuple[Any, list[Tensor]]:
        (_, results), gradient = with_gradient(values, *rest)
        return results, gradient

    return both


def hessian_vector_product(function: Callable[..., Tensor]) -> Callable[..., list[Tensor]]:
    """The gradient's derivative along the vector, forward over reverse."""

    def product(values: Sequence[Tensor], vector: Sequence[Tensor], *rest: object) -> list[Tensor]:
        def gradient(at: Sequence[Tensor]) -> list[Tensor]:
            return jax.grad(function)(at, *rest)

        return jax.jvp(gradient, (values,), (vector,))[1]

    return product


def check_differentiable(model: keras.Model) -> None:
    """Nothing: layers made from Flax or Haiku modules keep their weights in Keras variables."""


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    """Nothing to keep: JAX has no global random state."""
    return contextlib.nullcontext()
