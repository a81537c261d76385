"""The groups of a batch, with operations that TensorFlow and XLA run fast on a CPU."""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from keras_bigbatch._backend.reference.ghost_groups import GhostGroups
from keras_bigbatch._backend.tensorflow import private_api
from keras_bigbatch._typing import Tensor

# Elements of a tile: half a megabyte of float32, which a core's cache holds beside another operand.
_TILE = 2**17


class Groups(GhostGroups):
    """With the operations that are fast on TensorFlow, and few: each takes a while to trace."""

    cuts_known = True

    def _rows(self, part: Tensor) -> Tensor:
        # Eigen sums over a middle axis at a third of the speed at which it pools. Under XLA it is
        # the other way round.
        positions = part.shape[1]
        if self.positions != (1,) or not positions or not one_by_one():
            return super()._rows(part)
        pooled = tf.nn.avg_pool2d(part[:, :, None], (positions, 1), (positions, 1), "VALID")
        return pooled[:, 0, 0] * float(positions)

    @staticmethod
    def squared_difference(x: Tensor, y: Tensor) -> Tensor:
        return tf.math.squared_difference(x, y)

    def join(self, parts: list[Tensor]) -> Tensor:
        if len(parts) == 1 or parts[1].shape[1] is not None or not one_by_one():
            return super().join(parts)
        # The tail may be empty, and to concatenate with nothing copies everything.
        groups = tf.reshape(parts[0], (-1, parts[0].shape[-1]))
        empty = tf.equal(tf.shape(parts[1])[1], 0)
        return tf.cond(empty, lambda: groups, lambda: super(Groups, self).join(parts))

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


class TiledGroups(Groups):
    """Sums what XLA would sum slowly or inexactly on a CPU in steps; elsewhere as `Groups`."""

    def _rows(self, part: Tensor) -> Tensor:
        rows = super()._rows(part)
        if not (on_cpu() and private_api.may_be_under_xla()):
            return rows
        # XLA would make one sum of these and of those of a group's samples, one element after
        # another: after 131072 of mean 1e4 their mean is 0.1 off. But not of what may be replaced.
        return tf.where(tf.math.is_finite(rows), rows, tf.constant(math.nan, rows.dtype))

    def sum_of(self, function: Callable[..., Tensor], *operands: Sequence[Tensor]) -> Tensor:
        """In tiles that fit in the cache, where XLA would write products out in full."""
        if not self.positions or not (on_cpu() and private_api.may_be_under_xla()):
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


def on_cpu() -> bool:
    devices = {device.device_type for device in tf.config.list_physical_devices()}
    return devices == {"CPU"} and not private_api.may_be_for_a_tpu()


def one_by_one() -> bool:
    """Whether operations are run as they are, each on its own, by TensorFlow's runtime of a CPU."""
    return on_cpu() and not private_api.may_be_under_xla()
