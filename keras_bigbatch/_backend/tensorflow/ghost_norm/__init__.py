"""Ghost batch norm on TensorFlow: the gradient in closed form.

Automatic differentiation of the reference keeps the centred input for the backward pass. This keeps
the input alone and [G, C], and writes fewer temporaries. What TensorFlow runs one operation after
another, which is its default on a CPU, has faster operations here than under XLA.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras
import tensorflow as tf

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch._backend.reference.ghost_norm import inverse_deviation
from keras_bigbatch._backend.tensorflow.ghost_norm.groups import (
    Groups,
    TiledGroups,
    on_cpu,
    one_by_one,
)
from keras_bigbatch._backend.tensorflow.ghost_norm.traces import traced_once
from keras_bigbatch._typing import Tensor

# What `tf.custom_gradient` asks for: outputs, and the function that differentiates them.
_WithGradient: TypeAlias = tuple[tuple[Tensor, ...], Callable[..., Sequence[Tensor]]]

moved_by_kernel = ghost_norm.moved_by_kernel
python_is_compiled = ghost_norm.python_is_compiled


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, GhostMoments]:
    """With the gradient in closed form; under a mask by the reference."""
    if mask is not None:
        return ghost_norm.ghost_normalize(x, gamma, beta, virtual_batch, axis, epsilon, mask)
    precision = keras.backend.result_type(x.dtype, "float32")
    channels = (x.shape[axis],)
    gamma = tf.ones(channels, precision) if gamma is None else gamma
    beta = tf.zeros(channels, precision) if beta is None else beta
    options = (virtual_batch, axis, epsilon)

    @tf.custom_gradient
    def normalize(x: Tensor, gamma: Tensor, beta: Tensor) -> _WithGradient:
        y, moments = traced_once(_normalize, x, gamma, beta, options=options)

        def gradient(dy: Tensor, *_: Tensor) -> Sequence[Tensor]:
            return _differentiable_gradient(x, gamma, dy, moments, options)

        return (y, *moments), gradient

    y, *moments = normalize(x, gamma, beta)
    return y, GhostMoments(*moments)


def _flat(x: Tensor, axis: int) -> tuple[Tensor, int]:
    """On a CPU, the input with one axis of positions on either side of the channels; their axis.

    Over several axes, XLA sums five times slower there. For a TPU it would copy what was reshaped.
    """
    if not on_cpu():
        return x, axis
    shape = keras.ops.shape(x)
    before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
    sizes = [shape[0], *[before] * (axis > 1), shape[axis], *[after] * (axis < len(shape) - 1)]
    return tf.reshape(x, sizes), 1 + (axis > 1)


def _normalize(
    x: Tensor, gamma: Tensor, beta: Tensor, options: tuple[int, int, float]
) -> tuple[Tensor, GhostMoments]:
    """The output and the moments."""
    virtual_batch, axis, epsilon = options
    flat, axis = _flat(x, axis)
    if one_by_one():
        y, moments = _few_passes(flat, gamma, beta, virtual_batch, axis, epsilon)
    else:
        y, moments = ghost_norm.ghost_normalize(
            flat, gamma, beta, virtual_batch, axis, epsilon, grouping=TiledGroups
        )
    return tf.reshape(y, keras.ops.shape(x)), moments


def _few_passes(
    x: Tensor, gamma: Tensor, beta: Tensor, virtual_batch: int, axis: int, epsilon: float
) -> tuple[Tensor, GhostMoments]:
    """As the reference, for operations that are run one by one.

    All that it makes of full size is the centred input, which is then scaled where it is.
    """
    groups = Groups(x, virtual_batch, axis)
    given, dtype = groups.split(x), gamma.dtype.name
    parts = [tf.cast(part, dtype) for part in given]
    count = groups.sizes(dtype)
    divisor = tf.maximum(count, 1.0)
    centre = groups.centre(given, dtype)
    centred = [part - c for part, (c,) in zip(parts, groups.spread(centre), strict=True)]
    shift = groups.sum(centred) / divisor
    variance = groups.sum(_sums_of_squares(centred, groups)) / divisor - tf.square(shift)
    scale = inverse_deviation(variance, epsilon) * gamma
    spread = groups.spread(scale, beta - shift * scale)
    y = groups.join([d * scale + o for d, (scale, o) in zip(centred, spread, strict=True)])
    return y, GhostMoments(count, centre + shift, variance)


def _sums_of_squares(parts: list[Tensor], groups: Groups) -> list[Tensor]:
    """Sums of the parts over their positions, or the samples of their groups, which have size 1."""
    axes = groups.positions or ((0,) if len(parts[0].shape) == 2 else (1,))

    def summed(part: Tensor) -> Tensor:
        def without_squares_in_memory() -> Tensor:
            norm = tf.raw_ops.EuclideanNorm(input=part, axis=axes, keep_dims=True)
            return tf.square(norm)

        def compiled() -> Tensor:
            return tf.reduce_sum(tf.square(part), axes, keepdims=True)

        # XLA, which has no such norm, may compile this later, inside a function of its own.
        device = tf.raw_ops.DeviceIndex(device_names=["CPU"])
        return tf.switch_case(device, [without_squares_in_memory, compiled])

    return [summed(part) for part in parts]


def _differentiable_gradient(
    x: Tensor, gamma: Tensor, dy: Tensor, moments: GhostMoments, options: tuple[int, int, float]
) -> Sequence[Tensor]:
    """The gradients to x, gamma and beta; differentiated again, they recompute the moments."""

    @tf.custom_gradient
    def first(x: Tensor, gamma: Tensor, dy: Tensor) -> _WithGradient:
        def second(*upstream: Tensor) -> Sequence[Tensor]:
            with tf.GradientTape() as tape:
                tape.watch((x, gamma, dy))
                flat, axis = _flat(x, options[1])
                groups = Groups(flat, options[0], axis)
                parts = [tf.cast(part, moments.mean.dtype) for part in groups.split(flat)]
                again, *_ = ghost_norm.ghost_moments(parts, groups)
                outputs = _gradient(x, gamma, dy, again, options, Groups)
            return tape.gradient(outputs, (x, gamma, dy), upstream)

        gradients = traced_once(
            _gradient, x, gamma, dy, moments, options=options, grouping=TiledGroups
        )
        return gradients, second

    return first(x, gamma, dy)


def _gradient(
    x: Tensor,
    gamma: Tensor,
    dy: Tensor,
    moments: GhostMoments,
    options: tuple[int, int, float],
    grouping: type[Groups],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to x, gamma and beta.

    With d = x - mean, r = 1 / root and n elements in a group, the first is
    `gamma * r * (dy - sum(dy) / n - d * r^2 * sum(dy * d) / n)`.
    """
    virtual_batch, axis, epsilon = options
    count, mean, variance = moments
    (flat, _), (flat_dy, axis) = _flat(x, axis), _flat(dy, axis)
    groups = grouping(flat, virtual_batch, axis)
    inputs = [tf.cast(part, dy.dtype) for part in groups.split(flat)]
    upstream = groups.split(flat_dy)
    r = inverse_deviation(variance, epsilon)
    means = [m for (m,) in groups.spread(mean)]
    dbeta = groups.sum(upstream)
    dgamma = groups.sum_of(lambda x, m, dy: dy * (x - m), inputs, means, upstream) * r
    minus_one_over_n = -1.0 / tf.maximum(count, 1.0)
    slope = dgamma * r * minus_one_over_n
    offset = dbeta * minus_one_over_n - mean * slope
    spread = groups.spread(r * gamma, slope, offset)
    # In this order TensorFlow writes all four results into one buffer.
    terms = zip(inputs, upstream, spread, strict=True)
    dx = groups.join([(part * b + c + dy) * a for part, dy, (a, b, c) in terms])
    # A variance is not negative. But XLA does not know that, and so does not turn this sum of sums
    # into one sum over dy, which would read all of it once more.
    dbeta = tf.where(variance < 0, tf.zeros_like(dbeta), dbeta)
    dx = tf.reshape(tf.cast(dx, x.dtype), keras.ops.shape(x))
    return dx, tf.reduce_sum(dgamma, 0), tf.reduce_sum(dbeta, 0)
