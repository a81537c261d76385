"""Checks of the argument `axis`: which of the input's axes is the channel axis."""

import numbers


def check_axis(axis: int) -> None:
    """Raises a `ValueError` for an axis that cannot be the channels', whatever the input is."""
    hint = "Use axis=-1 for channels last, axis=1 for channels first."
    if not isinstance(axis, numbers.Integral) or isinstance(axis, bool):
        raise ValueError(f"`axis` must be an integer. Received: axis={axis!r}. {hint}")
    if axis == 0:
        raise ValueError(
            "`axis` must be the channel axis, but axis 0 is the batch. Received: axis=0. " + hint
        )


def channel_axis(axis: int, input_shape: tuple[int | None, ...]) -> int:
    """The axis as a positive number, or a `ValueError` if the input has no such axis."""
    rank = len(input_shape)
    if not -rank < axis < rank:
        raise ValueError(
            f"`axis` must be the channel axis of an input of rank {rank}, from 1 to "
            f"{rank - 1} or from {1 - rank} to -1; axis 0 is the batch. Received: "
            f"axis={axis}, input_shape={tuple(input_shape)}."
        )
    return axis % rank
