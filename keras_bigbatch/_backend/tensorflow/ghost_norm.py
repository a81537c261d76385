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
from keras_bigbatch._backend.reference.ghost_groups import GhostGroups
from keras_bigbatch._backend.reference.ghost_norm import inverse_deviation
from keras_bigbatch._backend.tensorflow import private_api
from keras_bigbatch._typing import Tensor

# What `tf.custom_gradient` asks for: outputs, and the function that differentiates them.
_WithGradient: TypeAlias = tuple[tuple[Tensor, ...], Callable[..., Sequence[Tensor]]]

# Elements of a tile: half a megabyte of float32, which a core's cache holds beside another operand.
_TILE = 2**17

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
    # One axis of positions: over several, XLA's CPU compiler sums five times slower.
    shape = keras.ops.shape(x)
    before, after = math.prod(shape[1:axis]), math.prod(shape[axis + 1 :])
    flat = [shape[0], *[before] * (axis > 1), *channels, *[after] * (axis < len(shape) - 1)]
    options = (virtual_batch, 1 + (axis > 1), epsilon)

    @tf.custom_gradient
    def normalize(x: Tensor, gamma: Tensor, beta: Tensor) -> _WithGradient:
        if _one_by_one():
            y, moments = _normalize(x, gamma, beta, options)
        else:
            y, moments = ghost_norm.ghost_normalize(x, gamma, beta, *options, grouping=_TiledGroups)

        def gradient(dy: Tensor, *_: Tensor) -> Sequence[Tensor]:
            return _differentiable_gradient(x, gamma, dy, moments, options)

        return (y, *moments), gradient

    y, *moments = normalize(tf.reshape(x, flat), gamma, beta)
    return tf.reshape(y, shape), GhostMoments(*moments)


class _Groups(GhostGroups):
    """With the operations that are fast on TensorFlow, and few: each takes a while to trace."""

    cuts_known = True

    def _rows(self, part: Tensor) -> Tensor:
        # Eigen sums over a middle axis at a third of the speed at which it pools. Under XLA it is
        # the other way round.
        positions = part.shape[1]
        if self.positions != (1,) or not positions or not _one_by_one():
            return super()._rows(part)
        pooled = tf.nn.avg_pool2d(part[:, :, None], (positions, 1), (positions, 1), "VALID")
        return pooled[:, 0, 0] * float(positions)

    @staticmethod
    def squared_difference(x: Tensor, y: Tensor) -> Tensor:
        return tf.math.squared_difference(x, y)

    def join(self, parts: list[Tensor]) -> Tensor:
        if len(parts) == 1 or parts[1].shape[1] is not None or not _one_by_one():
            return super().join(parts)
        # The tail may be empty, and to concatenate with nothing copies everything.
        groups = tf.reshape(parts[0], (-1, parts[0].shape[-1]))
        empty = tf.equal(tf.shape(parts[1])[1], 0)
        return tf.cond(empty, lambda: groups, lambda: super(_Groups, self).join(parts))

    def _cut(self, rows: Tensor, head: Tensor) -> Sequence[Tensor]:
        parts: Sequence[Tensor] = tf.split(
            rows, tf.stack([tf.minimum(head, tf.shape(rows)[0]), -1])
        )
        return parts

    def spread(self, *groups: Tensor) -> list[tuple[Tensor, ...]]:
        if not self.positions or len(groups) == 1:
            return super().spread(*groups)
        # Side by side in memory: where XLA transposes a layer's output for the next convolution, it
        # works the output out again, sample by sample, and so reads one cache line for all of them.
        channels, many = groups[0].shape[1], len(groups)
        interleaved = tf.reshape(tf.stack(groups, axis=-1), (-1, channels * many))
        [(spread,)] = super().spread(interleaved)
        ones = [1] * len(self.positions)
        shape = [-1, *ones[: self.axis - 1], channels, *ones[self.axis - 1 :], many]
        return [tuple(tf.unstack(tf.reshape(spread, shape), axis=-1))]


class _TiledGroups(_Groups):
    """Sums what XLA would sum slowly or inexactly on a CPU in steps; elsewhere as `_Groups`."""

    def _rows(self, part: Tensor) -> Tensor:
        rows = super()._rows(part)
        if not (_on_cpu() and private_api.may_be_under_xla()):
            return rows
        # XLA would make one sum of these and of those of a group's samples, one element after
        # another: after 131072 of mean 1e4 their mean is 0.1 off. But not of what may be replaced.
        return tf.where(tf.math.is_finite(rows), rows, tf.constant(math.nan, rows.dtype))

    def sum_of(self, function: Callable[..., Tensor], *operands: Sequence[Tensor]) -> Tensor:
        """In tiles that fit in the cache, where XLA would write products out in full."""
        if not self.positions or not (_on_cpu() and private_api.may_be_under_xla()):
            return super().sum_of(function, *operands)
        batch, *shape = tf.unstack(tf.shape(operands[0][0]))
        # The values of a single group are not there for each sample.
        pieces = [
            tf.broadcast_to(piece, tf.concat([[batch], tf.shape(piece)[1:]], 0))
            for [piece] in operands
        ]
        samples = tf.minimum(tf.maximum(_TILE // tf.maximum(math.prod(shape), 1), 1), batch)
        tiles = tf.maximum(batch // tf.maximum(samples, 1), 1)  # One without samples, if need be.

        def rows(*tile: Tensor) -> Tensor:
            return self._rows(function(*tile))

        def rows_of_tile(number: Tensor) -> Tensor:
            begin = tf.stack([number * samples, *[0] * len(shape)])
            sizes = [tf.concat([samples[None], tf.shape(piece)[1:]], 0) for piece in pieces]
            return rows(*map(tf.slice, pieces, [begin] * len(pieces), sizes))

        channels = pieces[0].shape[self.axis]
        signature = tf.TensorSpec((None, channels), pieces[-1].dtype)
        sums = tf.map_fn(rows_of_tile, tf.range(tiles), fn_output_signature=signature)
        rest = rows(*(piece[tiles * samples :] for piece in pieces))
        return self._sum_rows(tf.concat([tf.reshape(sums, (-1, channels)), rest], axis=0))


def _on_cpu() -> bool:
    devices = {device.device_type for device in tf.config.list_physical_devices()}
    return devices == {"CPU"} and not private_api.may_be_for_a_tpu()


def _one_by_one() -> bool:
    """Whether operations are run as they are, each on its own, by TensorFlow's runtime of a CPU."""
    return _on_cpu() and not private_api.may_be_under_xla()


def _normalize(
    x: Tensor, gamma: Tensor, beta: Tensor, options: tuple[int, int, float]
) -> tuple[Tensor, GhostMoments]:
    """As the reference, for operations that are run one by one.

    All that it makes of full size is the centred input, which is then scaled where it is.
    """
    virtual_batch, axis, epsilon = options
    groups = _Groups(x, virtual_batch, axis)
    parts = [tf.cast(part, gamma.dtype) for part in groups.split(x)]
    count = groups.sizes(gamma.dtype)
    divisor = tf.maximum(count, 1.0)
    centre = groups.centre(parts)
    centred = [part - c for part, (c,) in zip(parts, groups.spread(centre), strict=True)]
    shift = groups.sum(centred) / divisor
    variance = groups.sum(_sums_of_squares(centred, groups)) / divisor - tf.square(shift)
    scale = inverse_deviation(variance, epsilon) * gamma
    spread = groups.spread(scale, beta - shift * scale)
    y = groups.join([d * scale + o for d, (scale, o) in zip(centred, spread, strict=True)])
    return y, GhostMoments(count, centre + shift, variance)


def _sums_of_squares(parts: list[Tensor], groups: _Groups) -> list[Tensor]:
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
                groups = _Groups(x, *options[:2])
                parts = [tf.cast(part, dy.dtype) for part in groups.split(x)]
                again, *_ = ghost_norm.ghost_moments(parts, groups)
                outputs = _gradient(x, gamma, dy, again, options, _Groups)
            return tape.gradient(outputs, (x, gamma, dy), upstream)

        return _gradient(x, gamma, dy, moments, options, _TiledGroups), second

    return first(x, gamma, dy)


def _gradient(
    x: Tensor,
    gamma: Tensor,
    dy: Tensor,
    moments: GhostMoments,
    options: tuple[int, int, float],
    grouping: type[_Groups],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to x, gamma and beta.

    With d = x - mean, r = 1 / root and n elements in a group, the first is
    `gamma * r * (dy - sum(dy) / n - d * r^2 * sum(dy * d) / n)`.
    """
    virtual_batch, axis, epsilon = options
    count, mean, variance = moments
    groups = grouping(x, virtual_batch, axis)
    inputs = [tf.cast(part, dy.dtype) for part in groups.split(x)]
    upstream = groups.split(dy)
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
    return tf.cast(dx, x.dtype), tf.reduce_sum(dgamma, 0), tf.reduce_sum(dbeta, 0)
