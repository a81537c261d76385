"""Warnings about sizes of ghost batches that make no sense for the batch or the input."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from keras_bigbatch import _backend
from keras_bigbatch._private_api import flatten_layers
from keras_bigbatch._user_warnings import is_restored, warn_user

# Whether batches are those of a measurement, whose size says nothing about the training's.
_measuring = False

# What ghost batch norm makes of a group of one value.
_CONSTANT = "which is its own mean: in training the output is `beta` for any input."


@contextlib.contextmanager
def measurement() -> Iterator[None]:
    """Marks what runs inside it as a measurement, whatever mode the layers are in."""
    global _measuring
    before, _measuring = _measuring, True
    try:
        yield
    finally:
        _measuring = before


def check_first_batch(layer: Any, batch: int | None) -> None:
    """Warns if the first batch that a layer is trained on is no larger than its ghost batches.

    Later ones are not checked, since the last batch of an epoch may be short.

    Args:
        layer: A ghost batch norm.
        batch: Samples that it sees; None if unknown when its program is traced.
    """
    backend = _backend.active()
    if backend.ghost_norm.python_is_compiled() or layer._first_batch_checked or _measuring:
        return
    layer._first_batch_checked = True
    # A replica's part of the batch may well be one group, or even be empty.
    if batch and layer.virtual_batch >= batch * backend.replicas.replicas():
        _warn_of_one_group(layer.virtual_batch, batch)


def check_batch(model: Any, batch: int) -> None:
    """Does the same for all layers of a model before training, where the batch is known.

    The layers then do not check the first batch that they see.

    Args:
        model: A model.
        batch: Samples in one step of all replicas together; the largest of several batches.
    """
    for layer in flatten_layers(model):
        if hasattr(layer, "_first_batch_checked"):
            layer._first_batch_checked = True
            if layer.trainable and layer.virtual_batch >= batch:
                _warn_of_one_group(layer.virtual_batch, batch)


def check_positions(
    virtual_batch: int, positions: Sequence[int | None], outcome: str = _CONSTANT
) -> None:
    """Warns of groups of one value per channel, whose mean is that value.

    Args:
        virtual_batch: Samples in a ghost batch.
        positions: The sizes of the axes other than the batch and channel axes.
        outcome: What the layer returns for such a group; it ends the sentence.
    """
    if virtual_batch == 1 and all(size == 1 for size in positions) and not is_restored():
        warn_user(
            "With `virtual_batch=1` and no positions besides the channels, a group has one value "
            f"per channel, {outcome} Use a `virtual_batch` of 8 or more.",
            once=True,
        )


def _warn_of_one_group(virtual_batch: int, batch: int) -> None:
    warn_user(
        f"`virtual_batch={virtual_batch}` is not smaller than the batch of {batch}, so all of the "
        "batch is one group: this is plain batch normalization. Train on a larger batch, or pass a "
        "smaller `virtual_batch`: the size of the batch that the recipe was tuned at.",
        once=True,
    )
