"""Derivatives of pure functions on TensorFlow."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_bigbatch._backend._gradients_protocol import F
from keras_bigbatch._backend.reference.gradients import with_value_as_result
from keras_bigbatch._typing import Tensor


def compiled(function: F, model: keras.Model, *, draws_anew: bool = False) -> F:  # noqa: ARG001
    """As Keras compiles a training step."""
    if model.run_eagerly:
        return function
    return tf.function(
        function, autograph=False, jit_compile=bool(model.jit_compile), reduce_retracing=True
    )


def trace(function: Callable[..., object], *arguments: object) -> None:
    """A call."""
    function(*arguments)


def value_and_gradient(
    function: Callable[..., Tensor],
) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    """By `gradient_and_results`, of which the value is the result."""
    return gradient_and_results(with_value_as_result(function))


def gradient_and_results(
    function: Callable[..., tuple[Tensor, Any]],
) -> Callable[..., tuple[Any, list[Tensor]]]:
    """On a tape."""

    def both(values: Sequence[Tensor], *rest: object) -> tuple[Any, list[Tensor]]:
        inputs = _inputs(values)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            value, results = function(inputs, *rest)
        return results, _gradients(tape, value, inputs)

    return both


def hessian_vector_product(function: Callable[..., Tensor]) -> Callable[..., list[Tensor]]:
    """The gradient of `gradient . vector`, reverse over reverse.

    More operations have a second derivative on a tape than on a `ForwardAccumulator`.
    """
    with_gradient = value_and_gradient(function)

    def product(values: Sequence[Tensor], vector: Sequence[Tensor], *rest: object) -> list[Tensor]:
        inputs = _inputs(values)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            _, gradients = with_gradient(inputs, *rest)
            pairs = zip(gradients, vector, strict=True)
            slope = tf.add_n([tf.reduce_sum(g * v) for g, v in pairs])
        return _gradients(tape, slope, inputs)

    return product


def _inputs(values: Sequence[Tensor]) -> list[Tensor]:
    """Plain tensors: a variable would be read again, and not be what the tape watches."""
    return [tf.convert_to_tensor(value) for value in values]


def _gradients(tape: tf.GradientTape, value: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    gradients = tape.gradient(value, inputs, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    # Embeddings have gradients of selected rows.
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def check_differentiable(model: keras.Model) -> None:
    """Nothing: a layer of TensorFlow variables has no weights that Keras trains."""


def random_state_kept() -> contextlib.AbstractContextManager[None]:
    """Nothing to keep: Keras draws from its own seeds only."""
    return contextlib.nullcontext()
