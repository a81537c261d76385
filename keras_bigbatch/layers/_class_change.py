"""Turns a batch norm into a ghost or a plain one in place, by changing its class.

Both classes have the same variables. So the graph, attributes, flags and the optimizer's state,
which refer to the layer or its variables, stay valid.
"""

from typing import Any, TypeAlias

import keras

from keras_bigbatch._private_api import flatten_layers, forget_functions, models
from keras_bigbatch._serialization import serializable
from keras_bigbatch._virtual_batch import check_positions
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization

_PLAIN: Any = keras.layers.BatchNormalization
# The attributes that a layer gets when it becomes a ghost batch norm, by name.
Ghost: TypeAlias = dict[str, Any]


class _MadeAgain(GhostBatchNormalization):
    """A ghost batch norm in a model whose own code recreates it as a plain one.

    Keras names the weights in a file after the class, so this class has the plain one's name.
    """


_MadeAgain.__name__ = _MadeAgain.__qualname__ = _PLAIN.__name__
MadeAgain = serializable(_MadeAgain)

# Only these classes: a subclass that someone else wrote may behave differently.
CONVERTIBLE = (_PLAIN, GhostBatchNormalization, MadeAgain)


def batch_norms(model: keras.layers.Layer) -> list[Any]:
    """Returns each batch norm in a model once, subclasses included, in the model's order."""
    return [part for part in flatten_layers(model) if isinstance(part, _PLAIN)]


def convertible(model: keras.layers.Layer) -> list[Any]:
    """Returns the batch norms that can change their class."""
    return [norm for norm in batch_norms(model) if type(norm) in CONVERTIBLE]


def is_ghost(layer: Any) -> bool:
    """Returns whether a layer is a ghost batch norm."""
    return isinstance(layer, GhostBatchNormalization)


def ghost_of(layer: Any, virtual_batch: int, **changes: Any) -> Ghost:
    """Returns the attributes that a batch norm gets when it becomes a ghost one.

    Args:
        layer: The batch norm, of any kind.
        virtual_batch: Samples in a ghost batch.
        **changes: `momentum` and `statistics`; None leaves one unchanged.

    Raises:
        ValueError: If the layer cannot become one. The message names it.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    config = {**layer.get_config(), **given, "virtual_batch": virtual_batch}
    try:
        checked = GhostBatchNormalization(**config)
        if layer.built:
            shape = layer.get_build_config()["input_shape"]
            axis = checked.axis % len(shape)
            check_positions(virtual_batch, [*shape[1:axis], *shape[axis + 1 :]])
    except ValueError as error:
        raise ValueError(f"The layer {layer.name!r} cannot be converted. {error}") from error
    return {name: getattr(checked, name) for name in _GHOST_ONLY} | {"momentum": checked.momentum}


_GHOST_ONLY = ("virtual_batch", "statistics", "_first_batch_checked")


def become_ghost(layer: Any, ghost: Ghost, kind: type = GhostBatchNormalization) -> None:
    """Turns a batch norm into a ghost one.

    Args:
        layer: The batch norm, of any kind.
        ghost: The result of `ghost_of`.
        kind: `GhostBatchNormalization` or `MadeAgain`.
    """
    layer.__class__ = kind
    for name, value in ghost.items():
        setattr(layer, name, value)


def become_plain(layer: Any) -> None:
    """Turns a ghost batch norm into a plain one."""
    if is_ghost(layer):
        layer.__class__ = _PLAIN
        for name in _GHOST_ONLY:
            delattr(layer, name)


def forget(model: keras.Model) -> None:
    """Makes the model and its submodels recompile their functions, which hold the old code."""
    for part in models(model):
        forget_functions(part)
