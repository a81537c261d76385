"""The positions that a mask keeps, read as Keras's batch norm reads it."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_bigbatch._typing import Tensor

_Shape = Sequence[int | None]


def kept_positions(mask: Tensor, inputs: Tensor, axis: int) -> Tensor:
    """Returns the mask as a boolean of the input's shape, of size 1 along channels that share it.

    Keras adds a last axis to the mask and broadcasts it to the input, wherever the channels are.
    A `Masking` layer masks the first axis after the batch; with `axis=1` that is the channel axis,
    and each channel has its own mask. If a mask does not fit this way, the channel axis is added
    instead.

    Args:
        mask: A tensor of any type, with one axis less than the input.
        inputs: The layer's input.
        axis: The channel axis, positive.
    """
    added = _added_axis(tuple(mask.shape), tuple(inputs.shape), axis)
    mask = ops.expand_dims(ops.cast(mask, "bool"), added)
    shape = list(ops.shape(inputs))
    if mask.shape[axis] == 1:
        shape[axis] = 1
    return ops.broadcast_to(mask, shape)


def passed_on(mask: Any) -> Tensor | None:
    """The mask as it goes on to the next layer: a nested list as a tensor."""
    # Keras would take the entries of a list for the masks of several outputs.
    return ops.convert_to_tensor(mask) if isinstance(mask, list | tuple) else mask


def _added_axis(mask: _Shape, inputs: _Shape, axis: int) -> int:
    """Returns the axis that a mask of this shape lacks."""
    last = len(inputs) - 1
    if len(mask) == last:
        for unknown_fits in (False, True):
            for added in (last, axis):
                sizes = [*inputs[:added], *inputs[added + 1 :]]
                if all(_fits(m, n, unknown_fits) for m, n in zip(mask, sizes, strict=True)):
                    return added
    raise ValueError(
        "`mask` must have the input's shape without the last axis, as for Keras's batch norm, or "
        "without the channel axis, or be broadcast to one of these. Received: mask.shape="
        f"{mask}, inputs.shape={inputs}, axis={axis}."
    )


def _fits(mask: int | None, inputs: int | None, unknown_fits: bool) -> bool:
    if None in (mask, inputs) and unknown_fits:
        return True
    return mask in (1, inputs)
