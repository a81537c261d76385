"""Copies any model through its config, with all state of its layers, or says why it cannot."""

import copy
import functools
import tempfile
from typing import Any

import keras
import numpy as np

from keras_bigbatch._private_api import (
    flatten_layers,
    models,
    places,
    restore_input_structure,
    set_path,
    uncompiled,
)
from keras_bigbatch._serialization import is_keras
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization

_IN_PLACE = "Convert the model itself with `in_place=True`, which copies nothing."


def copied(model: keras.Model) -> keras.Model:
    """Returns a new model with the same layers, flags, weights and other state; not compiled.

    Raises:
        ValueError: If the config does not recreate the same model. The message says what differs.
    """
    made = _made_again(model)
    pairs = _pairs(model, made)
    for layer, other in pairs:  # from the outside in: setting a model's flag sets its layers'
        other.name = layer.name  # a constructor may have renumbered it
        set_path(other, layer.path)
        if other.trainable != layer.trainable:
            other.trainable = layer.trainable
    _copy_variables(model, made)
    for layer, other in pairs:
        try:
            _copy_state(layer, other)
        except Exception as error:
            raise ValueError(
                f"The layer {layer.name!r} of class {type(layer).__name__} cannot pass its state "
                f"to a copy: {_first_line(error)} {_IN_PLACE}"
            ) from error
    for layer, other in pairs:
        _copy_attributes(layer, other)
        # Keras builds a subclass from its config by a call, but does not mark it as built. Other
        # layers without variables may still have to be built.
        if isinstance(layer, keras.Model):
            other.built = layer.built
            restore_input_structure(other, layer)
    return made


def made_in_code(model: keras.Model) -> list[Any]:
    """Returns the ghost batch norms that the model's own code recreates as plain ones.

    Args:
        model: A model whose batch norms are already converted.
    """
    ghosts = [part for part in flatten_layers(model) if isinstance(part, GhostBatchNormalization)]
    if not ghosts:
        return []
    try:
        with uncompiled(models(model)):
            written = _count(model.get_config())
    except Exception:  # a custom `get_config` may raise anything: no config to recreate it from
        return ghosts
    if written == len(ghosts):
        return []
    if not written:
        return ghosts
    pairs = zip(places(model), places(_made_again(model)), strict=True)
    plain = {id(layer) for layer, other in pairs if not isinstance(other, GhostBatchNormalization)}
    return [layer for layer in ghosts if id(layer) in plain]


def _count(config: Any) -> int:
    """Returns the number of ghost batch norms in a config."""
    if isinstance(config, list | tuple):
        return sum(map(_count, config))
    if not isinstance(config, dict):
        return 0
    own = config.get("class_name") == GhostBatchNormalization.__name__
    return own + sum(map(_count, config.values()))


def _made_again(model: Any) -> Any:
    parts = flatten_layers(model)
    # Unregistered classes of this session, which Keras could not find by name.
    known = {type(part).__name__: type(part) for part in parts if _is_nobodys(type(part))}
    try:
        with uncompiled(models(model)), keras.saving.custom_object_scope(known):
            made = type(model).from_config(model.get_config())
            if not made.built:
                made.build_from_config(model.get_build_config() or {})
    except Exception as error:
        lambdas = [part.name for part in parts if isinstance(part, keras.layers.Lambda)]
        hint = ""
        if lambdas:
            hint = (
                f"The layer {lambdas[0]!r} is a `Lambda`, whose function Keras does not load from "
                "a config: write it as a `keras.ops` call or a custom layer. "
            )
        raise ValueError(
            f"Keras cannot copy the model {model.name!r} of class {type(model).__name__}: creating "
            f"it from its config raises {type(error).__name__}, {_first_line(error)!r}. "
            f"{hint}{_IN_PLACE}"
        ) from error
    return made


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _is_nobodys(kind: type) -> bool:
    """Returns whether a class is neither Keras's own nor registered with it."""
    return not is_keras(kind) and ">" not in keras.saving.get_registered_name(kind)


def _pairs(model: keras.Model, made: keras.Model) -> list[tuple[Any, Any]]:
    """Pairs the layers of the model and of its copy by place, since automatic names differ.

    Every place counts: a constructor may create two layers where the model shares one, as a
    KerasHub detector does with its anchor generator. If such a layer has variables, the copy has
    more of them.
    """
    layers, others = places(model), places(made)
    kinds, other_kinds = ([type(each).__name__ for each in side] for side in (layers, others))
    if kinds != other_kinds:
        first = next(
            (a for a, b in zip(kinds, other_kinds, strict=False) if a != b), "their number"
        )
        raise _differs(model, f"other layers ({len(layers)} and {len(others)}; first: {first})")
    pairs = list(zip(layers, others, strict=True))
    for layer, other in pairs:
        if isinstance(layer, keras.layers.InputLayer):
            continue  # its policy, the global one at the time, has no effect
        if layer.dtype_policy.name != other.dtype_policy.name:
            raise _differs(
                model,
                f"{layer.name!r} as {other.dtype_policy.name}, not {layer.dtype_policy.name}",
            )
    return pairs


def _copy_variables(model: keras.Model, made: keras.Model) -> None:
    ours, theirs = model.variables, made.variables
    if len(ours) != len(theirs):
        raise _differs(model, f"{len(theirs)} variables instead of {len(ours)}")
    for variable, other in zip(ours, theirs, strict=True):
        if (variable.shape, variable.dtype) != (other.shape, other.dtype):
            raise _differs(
                model,
                f"{variable.path!r} with shape {other.shape} and type {other.dtype} instead of "
                f"{variable.shape} and {variable.dtype}",
            )
    for variable, other in zip(ours, theirs, strict=True):
        # A copy: on JAX the two would share an array, which training one of them donates.
        other.assign(keras.ops.copy(variable))
        set_path(other, variable.path)


def _copy_state(layer: Any, other: Any) -> None:
    """Copies the state that a layer saves in its own way, as Keras's adapted layers do."""
    if _overrides(layer, "save_own_variables") or _overrides(layer, "load_own_variables"):
        store: dict[str, Any] = {}
        layer.save_own_variables(store)
        values = {name: np.array(_on_host(value)) for name, value in store.items()}
        other.load_own_variables(values)
    if hasattr(layer, "save_assets") and hasattr(other, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            other.load_assets(folder)


def _overrides(layer: Any, method: str) -> bool:
    return getattr(type(layer), method) is not getattr(keras.layers.Layer, method)


def _copy_attributes(layer: Any, other: Any) -> None:
    """Copies what a layer holds in plain attributes, such as a table that the user has set."""
    theirs = _values(other)
    for name, value in _values(layer).items():
        if name not in theirs or not _equal(value, theirs[name]):
            setattr(other, name, keras.tree.map_structure(_copied_value, value))


def _values(layer: Any) -> dict[str, Any]:
    """Returns the attributes that are numbers, strings or arrays, or structures of these.

    Attributes that Keras gives all layers are left out. Of the private attributes, only arrays of
    classes that are not Keras's are included.
    """
    private = not is_keras(type(layer))
    return {
        name: value
        for name, value in vars(layer).items()
        if name not in _keras_own()
        and (_is_array(value) and private if name.startswith("_") else _is_plain(value))
    }


@functools.cache
def _keras_own() -> frozenset[str]:
    """The attributes that Keras gives all layers and models."""
    return frozenset([*vars(keras.Model()), "built"])


def _is_plain(value: Any) -> bool:
    leaves = keras.tree.flatten(value)
    return all(isinstance(each, bool | int | float | str) or _is_array(each) for each in leaves)


def _is_array(value: Any) -> bool:
    if isinstance(value, keras.KerasTensor | keras.Variable):
        return False
    return isinstance(value, np.ndarray | np.generic) or keras.ops.is_tensor(value)


def _copied_value(value: Any) -> Any:
    return keras.ops.copy(value) if keras.ops.is_tensor(value) else copy.copy(value)


def _equal(value: Any, other: Any) -> bool:
    leaves, others = keras.tree.flatten(value), keras.tree.flatten(other)
    return len(leaves) == len(others) and all(
        np.array_equal(_on_host(a), _on_host(b)) for a, b in zip(leaves, others, strict=True)
    )


def _on_host(value: Any) -> Any:
    value = value.value if isinstance(value, keras.Variable) else value
    return keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else np.asarray(value)


def _differs(model: keras.Model, what: str) -> ValueError:
    return ValueError(
        f"The config of the model {model.name!r} of class {type(model).__name__} does not recreate "
        f"the same model: it makes {what}. {_IN_PLACE}"
    )
