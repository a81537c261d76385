"""A summary of a model's ghost batch norms."""

from collections.abc import Callable
from typing import Any

import keras

from keras_bigbatch.layers._class_change import batch_norms, is_ghost


def ghost_summary(model: keras.Model, print_fn: Callable[[str], Any] = print) -> None:
    """Prints the ghost batch norm layers of a model, with their paths, channels and group sizes.

    Use it after `to_ghost` to see what was converted. `model.summary()` does not show this for
    layers that a model's own code creates: it lists them under their original class.

    Args:
        model: Any model.
        print_fn: A function that is called with each line.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    layers = [keras.Input((4,)), keras.layers.BatchNormalization(name="norm")]
    kbb.layers.ghost_summary(kbb.layers.to_ghost(keras.Sequential(layers), virtual_batch=32))
    # norm: 4 channels, ghost batches of 32
    ```
    """
    norms = batch_norms(model)
    ghosts = [part for part in norms if is_ghost(part)]
    print_fn(f"{len(ghosts)} of {len(norms)} batch norms have ghost batches.")
    width = max((len(part.path) for part in ghosts), default=0)
    for part in ghosts:
        statistics = "" if part.statistics == "sequential" else f", statistics={part.statistics!r}"
        frozen = "" if part.trainable else ", frozen"
        print_fn(
            f"{part.path:<{width}}  {_channels(part):>5} channels, ghost batches of "
            f"{part.virtual_batch}{statistics}{frozen}"
        )


def _channels(part: Any) -> str:
    return str(part.moving_mean.shape[0]) if part.built else "?"
