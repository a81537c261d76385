"""JAX: derivatives of pure functions. See `gradients`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from keras_bigbatch._typing import Tensor

Function = Callable[..., Tensor]


def compiled(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """As everywhere."""
    return jax.jit(function) if model.jit_compile and not model.run_eagerly else function


def trace(function: Callable[..., Any], *arguments: Any) -> None:
    """As everywhere. Operation by operation, XLA would compile each of them."""
    jax.eval_shape(function, *arguments)


def value_and_gradient(function: Function) -> Callable[..., Any]:
    """As everywhere."""
    return jax.value_and_grad(function)


def hessian_vector_product(function: Function) -> Callable[..., Any]:
    """As everywhere: the gradient's derivative along the vector, forward over reverse."""

    def product(values: Sequence[Tensor], vector: Sequence[Tensor], *rest: Any) -> Any:
        def gradient(at: Sequence[Tensor]) -> Any:
            return jax.grad(function)(at, *rest)

        return jax.jvp(gradient, (values,), (vector,))[1]

    return product


def refuse(model: Any) -> None:
    """Nothing: layers made from Flax or Haiku modules keep their weights in Keras variables."""


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    """Nothing to keep: JAX has no global random state."""
    return contextlib.nullcontext()
