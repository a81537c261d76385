"""The gradients of a batch as the mean of those of its groups, each a batch of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_bigbatch._backend import Step
from keras_bigbatch._private_step import mask_of, set_mask
from keras_bigbatch._typing import Tensor


def by_groups(
    step: Callable[[list[Tensor], Any], Step],
    size: int,
    averaged: Sequence[bool],
    state: list[Tensor],
    batch: Any,
) -> Step:
    """Takes a step for each group, one after the other.

    Gradients and losses are averaged by the groups' numbers of samples. So are statistics, which
    each group moves from where they were before the batch; counters and random states go from group
    to group.

    Args:
        step: Of the state and a batch.
        size: Samples in a group; the tail joins the last.
        averaged: Which of the state are statistics.
        state: The values of the variables that are no weights.
        batch: As (x, y, sample_weight), samples on axis 0.
    """
    samples = ops.shape(next(each for each in keras.tree.flatten(batch) if each is not None))[0]
    before_last = samples // size - 1
    # Where the batch is smaller than a group.
    is_known = isinstance(samples, int)
    before_last = max(before_last, 0) if is_known else ops.maximum(before_last, 0)
    start = before_last * size
    # The last group comes first: it says what a step returns, which a loop has to know.
    last = step(state, _rows(batch, start, samples - start))
    if is_known and before_last == 0:
        return last

    def share_of(tensor: Tensor, group: Tensor) -> Tensor:
        return tensor * (ops.cast(group, tensor.dtype) / ops.cast(samples, tensor.dtype))

    moved = [place for place, new in enumerate(last.state) if new is not None]
    outputs = _outputs(last.y_pred)

    def added(total: list[Any], part: Step, first: Tensor, group: Tensor) -> list[Any]:
        """The loop's values with a group's part in them, which begins at the sample `first`."""
        loss, gradient, predicted, values = total
        new = [part.state[place] for place in moved]
        return [
            loss + share_of(part.loss, group),
            [a + share_of(b, group) for a, b in zip(gradient, part.gradient, strict=True)],
            [_written(a, first, b) for a, b in zip(predicted, _outputs(part.y_pred), strict=True)],
            [
                old + share_of(value, group) if averaged[place] else value
                for place, old, value in zip(moved, values, new, strict=True)
            ],
        ]

    def body(group: Tensor, total: list[Any]) -> list[Any]:
        now = list(state)
        for place, value in zip(moved, total[3], strict=True):
            if not averaged[place]:
                now[place] = value
        first = group * size
        return added(total, step(now, _rows(batch, first, size)), first, size)

    nothing = [
        ops.zeros_like(last.loss),
        [ops.zeros_like(each) for each in last.gradient],
        [ops.zeros((samples, *ops.shape(each)[1:]), each.dtype) for each in outputs],
        [ops.zeros_like(last.state[place]) for place in moved],
    ]
    total = added(nothing, last, start, samples - start)
    loss, gradient, predicted, values = ops.fori_loop(0, before_last, body, total)
    after: list[Tensor | None] = [None] * len(state)
    for place, value in zip(moved, values, strict=True):
        after[place] = value
    return Step(loss, _packed(last.y_pred, predicted), gradient, after)


def _outputs(y_pred: Any) -> list[Tensor]:
    """The model's outputs, and after them the masks of those that have one."""
    outputs = keras.tree.flatten(y_pred)
    for each in outputs:
        if len(each.shape) == 0:
            raise ValueError(
                "With a `virtual_batch` the model sees groups of a batch, whose outputs are put "
                "together along their first axis. An output is a single number. Make "
                "`virtual_batch` None, or give the output an axis for the samples."
            )
    return [*outputs, *(mask for mask in map(mask_of, outputs) if mask is not None)]


def _packed(y_pred: Any, together: Sequence[Tensor]) -> Any:
    """The structure of a group's prediction with the whole batch's, and the masks on it."""
    outputs = keras.tree.flatten(y_pred)
    masks = iter(together[len(outputs) :])
    whole = [
        set_mask(new, next(masks) if mask_of(each) is not None else None)
        for new, each in zip(together, outputs, strict=False)
    ]
    return keras.tree.pack_sequence_as(y_pred, whole)


def _rows(batch: Any, start: Tensor, number: Tensor) -> Any:
    """Samples of all arrays of a batch."""

    def rows(array: Tensor | None) -> Tensor | None:
        if array is None:
            return None
        shape = ops.shape(array)
        return ops.slice(array, (start, *[0] * (len(shape) - 1)), (number, *shape[1:]))

    return keras.tree.map_structure(rows, batch)


def _written(array: Tensor, start: Tensor, rows: Tensor) -> Tensor:
    """The array with the rows from `start` on in it."""
    return ops.slice_update(array, (start, *[0] * (len(array.shape) - 1)), rows)
