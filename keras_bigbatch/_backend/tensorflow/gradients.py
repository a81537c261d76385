"""TensorFlow: derivatives of pure functions. See `gradients`."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_bigbatch._typing import Tensor

Function = Callable[..., Tensor]


def compiled(function: Callable[..., Any], model: Any) -> Callable[..., Any]:
    """As everywhere."""
    if model.run_eagerly:
        return function
    # As Keras compiles a training step.
    return tf.function(
        function, autograph=False, jit_compile=bool(model.jit_compile), reduce_retracing=True
    )


def trace(function: Callable[..., Any], *arguments: Any) -> None:
    """As everywhere."""
    function(*arguments)


def value_and_gradient(function: Function) -> Callable[..., Any]:
    """As everywhere."""

    def both(values: Sequence[Tensor], *rest: Any) -> tuple[Tensor, list[Tensor]]:
        inputs = _inputs(values)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            value = function(inputs, *rest)
        return value, _gradients(tape, value, inputs)

    return both


def hessian_vector_product(function: Function) -> Callable[..., Any]:
    """As everywhere: the gradient of `gradient . vector`, reverse over reverse.

    More operations have a second derivative on a tape than on a `ForwardAccumulator`.
    """
    with_gradient = value_and_gradient(function)

    def product(values: Sequence[Tensor], vector: Sequence[Tensor], *rest: Any) -> list[Tensor]:
        inputs = _inputs(values)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            _, gradients = with_gradient(inputs, *rest)
            along = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradients, vector, strict=True)])
        return _gradients(tape, along, inputs)

    return product


def _inputs(values: Sequence[Tensor]) -> list[Tensor]:
    """Plain tensors: a variable would be read again, and not be what the tape watches."""
    return [tf.convert_to_tensor(value) for value in values]


def _gradients(tape: Any, value: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    gradients = tape.gradient(value, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # Embeddings have gradients of selected rows.
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def refuse(model: Any) -> None:
    """Nothing: a layer of TensorFlow variables has no weights that Keras trains."""


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    """Nothing to keep: Keras draws from its own seeds only."""
    return contextlib.nullcontext()
