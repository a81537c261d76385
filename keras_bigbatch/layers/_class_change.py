"""A batch norm becomes a ghost one, or a plain one, where it stands: by its class.

The two have the same variables. So the graph, attributes, flags and the optimizer's state, which
point at the layer or at its variables, stay right.
"""

from typing import Any, TypeAlias

import keras

from keras_bigbatch._private_api import flatten_layers, forget_functions, models
from keras_bigbatch._serialization import serializable
from keras_bigbatch._virtual_batch import check_positions
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization

_PLAIN: Any = keras.layers.BatchNormalization
# What a layer that becomes a ghost one is given, by name.
Ghost: TypeAlias = dict[str, Any]


class _MadeAgain(GhostBatchNormalization):
    """A ghost batch norm in a model whose own code will make it again, as a plain one.

    Keras names the entries of a file's weights after the class: this one's must be found there.
    """


_MadeAgain.__name__ = _MadeAgain.__qualname__ = _PLAIN.__name__
MadeAgain = serializable(_MadeAgain)

# Exactly these: a subclass of somebody else's has a meaning of its own.
CONVERTIBLE = (_PLAIN, GhostBatchNormalization, MadeAgain)


def batch_norms(model: keras.layers.Layer) -> list[Any]:
    """The batch norms in a model, also of somebody's own class, each once, in the model's order."""
    return [part for part in flatten_layers(model) if isinstance(part, _PLAIN)]


def convertible(model: keras.layers.Layer) -> list[Any]:
    """Those that can change their class."""
    return [norm for norm in batch_norms(model) if type(norm) in CONVERTIBLE]


def is_ghost(layer: Any) -> bool:
    """Whether a layer is a ghost batch norm."""
    return isinstance(layer, GhostBatchNormalization)


def ghost_of(layer: Any, virtual_batch: int, **changes: Any) -> Ghost:
    """What a batch norm is given when it becomes a ghost one.

    Args:
        layer: The batch norm, of any kind.
        virtual_batch: Samples in a ghost batch.
        **changes: `momentum` and `statistics`, None where they are left.

    Raises:
        ValueError: If the layer cannot be one; with its name.
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
    """Makes a batch norm a ghost one.

    Args:
        layer: The batch norm, of any kind.
        ghost: What `ghost_of` returns.
        kind: `GhostBatchNormalization`, or `MadeAgain`.
    """
    layer.__class__ = kind
    for name, value in ghost.items():
        setattr(layer, name, value)


def become_plain(layer: Any) -> None:
    """Makes a ghost batch norm a plain one."""
    if is_ghost(layer):
        layer.__class__ = _PLAIN
        for name in _GHOST_ONLY:
            delattr(layer, name)


def forget(model: keras.Model) -> None:
    """Makes the model and those inside it compile their functions anew: they hold the old code."""
    for part in models(model):
        forget_functions(part)
