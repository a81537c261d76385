"""Records the moments of what batch norms normalize by their batch, during a training pass."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_bigbatch._private_api import BATCH_MOMENTS
from keras_bigbatch._typing import Tensor
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization
from keras_bigbatch.layers._mask import kept_positions


@contextlib.contextmanager
def watched_inputs(
    norms: Sequence[keras.layers.BatchNormalization],
) -> Iterator[list[list[Tensor]]]:
    """Yields one list per layer, to which each call adds the moments of what it normalizes.

    It watches the method that computes the moments of a batch, not `call`. A layer that
    normalizes by its moving statistics, for whatever reason, does not call it, and changes that a
    subclass makes to its input beforehand are included.
    """
    found: list[list[Tensor]] = [[] for _ in norms]
    with contextlib.ExitStack() as watches:
        for norm, moments in zip(norms, found, strict=True):
            watches.enter_context(_watched(norm, moments))
        yield found


@contextlib.contextmanager
def _watched(norm: keras.layers.BatchNormalization, found: list[Tensor]) -> Iterator[None]:
    is_ghost = isinstance(norm, GhostBatchNormalization)
    name = "_normalized_by_groups" if is_ghost else BATCH_MOMENTS
    method: Callable[..., Any] = getattr(norm, name)

    def watching(inputs: Tensor, mask: Tensor | None) -> Any:
        axis = norm.axis % len(inputs.shape)
        kept = mask if mask is None or is_ghost else kept_positions(mask, inputs, axis)
        found.append(_input_moments(inputs, kept, axis))
        return method(inputs, mask)

    # Bypasses `__setattr__`, which looks for variables and is locked in a built layer.
    attributes = vars(norm)
    before = attributes.get(name)
    attributes[name] = watching
    try:
        yield
    finally:
        del attributes[name]
        if before is not None:
            attributes[name] = before


def _input_moments(inputs: Tensor, kept: Tensor | None, axis: int) -> Tensor:
    """Returns the count, a value near the mean, the mean minus it, and the variance: [4, C].

    The mean has two parts, which together have more digits than the type. The variance is taken
    about the first and corrected by the second. Keras's own moments are not accurate enough: on
    JAX they are the mean of the squares minus the square of the mean.
    """
    values = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
    axes = [i for i in range(len(values.shape)) if i != axis]
    if kept is None:
        elements = math.prod(ops.shape(values)[i] for i in axes)
        count = ops.broadcast_to(ops.cast(elements, values.dtype), (values.shape[axis],))
    else:
        count = ops.sum(ops.cast(kept, values.dtype) * ops.ones_like(values), axes)
        values = ops.where(kept, values, 0.0)
    divisor = ops.maximum(count, 1.0)
    centre = ops.sum(values, axes) / divisor
    others = [1 if i != axis else -1 for i in range(len(values.shape))]
    differences = values - ops.reshape(centre, others)
    if kept is not None:
        differences = ops.where(kept, differences, 0.0)
    shift = ops.sum(differences, axes) / divisor
    variance = ops.sum(ops.square(differences), axes) / divisor - ops.square(shift)
    return ops.stack([count, centre, shift, variance])
