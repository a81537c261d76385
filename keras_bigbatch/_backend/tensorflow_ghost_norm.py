"""Ghost batch norm on TensorFlow: the gradient in closed form.

Automatic differentiation of the reference keeps the centred input for the backward pass. This keeps
the input alone and [G, C], and writes fewer temporaries.
"""

from typing import Any

import keras
import tensorflow as tf

from keras_bigbatch._backend import ghost_norm
from keras_bigbatch._backend.ghost_norm import GhostGroups, GhostMoments
from keras_bigbatch._typing import Tensor


def ghost_normalize(
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    virtual_batch: int,
    axis: int,
    epsilon: float,
    mask: Tensor | None = None,
) -> tuple[Tensor, GhostMoments]:
    """As `ghost_norm.ghost_normalize`."""
    options = (virtual_batch, axis, epsilon)
    if mask is not None:
        return ghost_norm.ghost_normalize(x, gamma, beta, *options, mask)
    precision = keras.backend.result_type(x.dtype, "float32")
    channels = (x.shape[axis],)
    gamma = tf.ones(channels, precision) if gamma is None else gamma
    beta = tf.zeros(channels, precision) if beta is None else beta

    @tf.custom_gradient
    def normalize(x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        y, moments = ghost_norm.ghost_normalize(x, gamma, beta, *options)

        def gradient(dy: Tensor, *_: Tensor) -> Any:
            return _differentiable_gradient(x, gamma, dy, moments, options)

        return (y, *moments), gradient

    y, *moments = normalize(x, gamma, beta)
    return y, GhostMoments(*moments)


def _differentiable_gradient(
    x: Tensor, gamma: Tensor, dy: Tensor, moments: GhostMoments, options: tuple[int, int, float]
) -> Any:
    """The gradients to x, gamma and beta; differentiated again, they recompute the moments."""

    @tf.custom_gradient
    def first(x: Tensor, gamma: Tensor, dy: Tensor) -> Any:
        def second(*upstream: Tensor) -> Any:
            with tf.GradientTape() as tape:
                tape.watch((x, gamma, dy))
                groups = GhostGroups(tf.shape(x)[0], options[0])
                wide = tf.cast(x, dy.dtype)
                again = ghost_norm.ghost_moments(wide, groups, options[1])
                outputs = _gradient(x, gamma, dy, again, options)
            return tape.gradient(outputs, (x, gamma, dy), upstream)

        return _gradient(x, gamma, dy, moments, options), second

    return first(x, gamma, dy)


def _gradient(
    x: Tensor, gamma: Tensor, dy: Tensor, moments: GhostMoments, options: tuple[int, int, float]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to x, gamma and beta.

    With d = x - mean, r = 1 / root and n elements in a group, the first is
    `gamma * r * (dy - sum(dy) / n - d * r^2 * sum(dy * d) / n)`.
    """
    virtual_batch, axis, epsilon = options
    count, mean, variance = moments
    rank = len(x.shape)
    positions = [i for i in range(1, rank) if i != axis]
    batch = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
    groups = GhostGroups(batch, virtual_batch)

    def group_sum(values: Tensor) -> Tensor:
        return groups.sum(tf.reduce_sum(values, positions) if positions else values)

    def wide(statistics: Tensor) -> Tensor:
        return ghost_norm.expand(groups.spread(statistics), rank, axis)

    r = tf.math.rsqrt(variance + epsilon)
    scale = r * gamma
    share = scale / -tf.maximum(count, 1.0)
    d = tf.cast(x, dy.dtype) - wide(mean)
    whole, along = group_sum(dy), group_sum(dy * d) * r
    dx = dy * wide(scale) + (d * wide(along * share * r) + wide(whole * share))
    return tf.cast(dx, x.dtype), tf.reduce_sum(along, 0), tf.reduce_sum(whole, 0)
