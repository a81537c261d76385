"""Functions that are traced only once, however often graphs call them.

TensorFlow runs Python for each operation that it puts into a graph. A network of fifty
normalization layers has about ten sizes of input, so most of what they trace has been traced.
"""

import functools
from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from keras_bigbatch._backend.tensorflow.ghost_norm.groups import one_by_one

# Traces that are kept, those of the calls made last.
_MOST = 256


def traced_once(function: Callable[..., Any], *tensors: Any, **options: Hashable) -> Any:
    """One trace for all calls in graphs that are alike."""
    if tf.executing_eagerly():
        return function(*tensors, **options)
    tensors = tf.nest.map_structure(_constant, tensors)
    leaves = tf.nest.flatten(tensors)
    kinds = tuple(leaf if leaf is None else (*leaf.shape, leaf.dtype) for leaf in leaves)
    return traced(function, kinds, tuple(options.items()), one_by_one())(*tensors)


@functools.lru_cache(_MOST)
def traced(
    function: Callable[..., Any],
    kinds: tuple[Hashable, ...],  # noqa: ARG001 (a function for each)
    options: tuple[tuple[str, Hashable], ...],
    called: bool,
) -> Callable[..., Any]:
    """The function as TensorFlow traces it: called, or with its operations put into each graph.

    What is put into a graph is optimized as often as it is called. XLA fuses only that.
    """
    attributes = {"_noinline": True} if called else {}
    return tf.function(
        functools.partial(function, **dict(options)),
        autograph=False,
        experimental_attributes=attributes,
    )


def _constant(leaf: Any) -> Any:
    """A tensor in place of a variable, which would be part of the trace, and of no tape.

    A function that is differentiated has other traces, with all that its gradient needs.
    """
    return None if leaf is None else tf.stop_gradient(leaf)
