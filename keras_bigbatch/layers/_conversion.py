"""Conversion of whole models between plain and ghost batch normalization."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._private_api import flatten_layers, uncompiled
from keras_bigbatch._user_warnings import warn_user
from keras_bigbatch.layers._ghost_batch_normalization import GhostBatchNormalization

_Norm: TypeAlias = keras.layers.BatchNormalization
_NewConfig: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]

# Exactly these: a subclass of somebody else's has a meaning of its own.
_CONVERTIBLE = (keras.layers.BatchNormalization, GhostBatchNormalization)


def to_ghost(model: keras.Model, virtual_batch: int = 128) -> keras.Model:
    """Copies a model with ghost batch norm in place of every batch norm.

    Use it to train a model that you already have, such as one of `keras.applications`, at a larger
    batch. The copy has the original's weights, names, regularizers, constraints and `trainable`
    flags, and predicts the same; the original is left alone. Layers that are shared stay shared,
    and batch norms inside nested models and wrappers (`TimeDistributed`) are converted as well. A
    layer that is a ghost batch norm already gets the new size, so converting twice is converting
    once. A model without any batch norm is copied, with a warning.

    The moving statistics' `momentum` is kept too, and some of `keras.applications` have 0.999: a
    training of fewer than some thousand groups needs a smaller one, or inference lags behind. Set
    `layer.momentum` before you compile.

    The copy is not compiled: an optimizer's momenta belong to the original's variables. Convert
    first, then `compile`.

    Args:
        model: A Functional or Sequential model, built.
        virtual_batch: Samples in a ghost batch.

    Returns:
        A new model.

    Raises:
        ValueError: If `virtual_batch` is not a positive integer; if the model is not built, or is a
            subclass of `keras.Model` that Keras cannot clone; if a batch norm is hidden inside a
            custom layer, or uses `renorm` or `synchronized`. The message names the layer.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=10)
    model = kbb.layers.to_ghost(model, virtual_batch=32)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    ```

    References:
        - [Hoffer, Hubara & Soudry, 2017](https://arxiv.org/abs/1705.08741), Algorithm 1
    """
    virtual_batch = positive_integer(
        "virtual_batch", virtual_batch, "It is the number of samples in a ghost batch."
    )

    def ghost_config(config: dict[str, Any]) -> dict[str, Any]:
        return {**config, "virtual_batch": virtual_batch}

    converted = _converted(model, GhostBatchNormalization, ghost_config)
    if not any(isinstance(part, keras.layers.BatchNormalization) for part in flatten_layers(model)):
        warn_user(
            f"The model {model.name!r} has no batch norm, so there is nothing to convert: the copy "
            "trains as the original does. Ghost batches are for `BatchNormalization` only; other "
            "norm layers do not depend on the batch."
        )
    return converted


def to_plain(model: keras.Model) -> keras.Model:
    """Copies a model with Keras's own batch norm in place of every ghost batch norm.

    Use it to hand a trained model to people or tools that do not have this package: in inference
    the two are the same. Everything that `to_ghost` keeps is kept here too.

    Args:
        model: A Functional or Sequential model, built.

    Returns:
        A new model, not compiled.

    Raises:
        ValueError: As `to_ghost`, for a model that cannot be copied.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.Input((4,)), kbb.GhostBatchNormalization(virtual_batch=32)])
    plain = kbb.layers.to_plain(model)
    print(type(plain.layers[0]))  # keras.layers.BatchNormalization
    ```
    """

    def plain_config(config: dict[str, Any]) -> dict[str, Any]:
        ghost_only = ("virtual_batch", "statistics")
        return {name: value for name, value in config.items() if name not in ghost_only}

    return _converted(model, keras.layers.BatchNormalization, plain_config)


def _converted(model: keras.Model, target: type[_Norm], new_config: _NewConfig) -> keras.Model:
    """A copy of `model` in which every plain or ghost batch norm is a `target`."""
    if not isinstance(model, keras.Function | keras.Sequential):
        raise ValueError(
            "Only Functional and Sequential models can be converted. Received a "
            f"{type(model).__name__}, whose own code calls its layers. Use "
            f"`{target.__name__}` in that code, and move the weights over with "
            "`new_model.set_weights(old_model.get_weights())`: they are interchangeable."
        )
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} has no weights to carry over yet. Give it a `keras.Input` "
            "or call it on data, then convert it."
        )
    pairs: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []

    def copied(layer: keras.Operation) -> keras.Operation:
        if not isinstance(layer, keras.layers.Layer):  # `x + 3.0` on a symbolic tensor, say
            return type(layer).from_config(layer.get_config())
        copy = _copied_layer(layer, target, new_config)
        pairs.append((layer, copy))
        return copy

    models = [model]
    for outer in models:
        models.extend(_inner_models(outer))
    with uncompiled(models):
        converted = keras.models.clone_model(model, clone_function=copied, recursive=True)
    if type(converted) is not type(model):
        raise ValueError(
            f"Keras cannot copy a model of class {type(model).__name__}: its constructor does not "
            f"take `(inputs, outputs, name)` as `keras.Model` does. Build it with "
            f"`{target.__name__}` layers, and move the weights over with "
            "`new_model.set_weights(old_model.get_weights())`."
        )
    _match_models(model, converted)
    for layer, copy in pairs:
        for part, part_copy in zip(flatten_layers(layer), flatten_layers(copy), strict=True):
            _check_converted(part, part_copy, layer, target)
            part_copy.trainable = part.trainable
        for variable, variable_copy in zip(layer.variables, copy.variables, strict=True):
            # A copy: on JAX the two would share an array that training one of them donates.
            variable_copy.assign(keras.ops.copy(variable))
    return converted


def _copied_layer(
    layer: keras.layers.Layer, target: type[_Norm], new_config: _NewConfig
) -> keras.layers.Layer:
    """A new layer like `layer`, with the batch norms of its config converted, and fresh weights."""
    if type(layer) in _CONVERTIBLE:
        try:
            # Not `from_config`, which wraps the reason in a TypeError with the whole config.
            return target(**new_config(layer.get_config()))
        except ValueError as error:
            raise ValueError(f"The layer {layer.name!r} cannot be converted. {error}") from error
    config = layer.get_config()
    if any(type(part) in _CONVERTIBLE for part in flatten_layers(layer)):
        config = _converted_config(config, target, new_config)
    return type(layer).from_config(config)


def _converted_config(config: Any, target: type[_Norm], new_config: _NewConfig) -> Any:
    """The config of a layer that holds others (a wrapper), with their batch norms converted."""
    if isinstance(config, list | tuple):
        return [_converted_config(entry, target, new_config) for entry in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") in {norm.__name__ for norm in _CONVERTIBLE}:
        layer = keras.saving.deserialize_keras_object(config)
        copy = _copied_layer(layer, target, new_config)
        return keras.saving.serialize_keras_object(copy)
    return {name: _converted_config(entry, target, new_config) for name, entry in config.items()}


def _check_converted(
    part: keras.layers.Layer, copy: keras.layers.Layer, owner: keras.layers.Layer, target: type
) -> None:
    """Raises for a batch norm that stayed what it was, and warns of one that is somebody's own."""
    if type(part) in _CONVERTIBLE and type(copy) is not target:
        raise ValueError(
            f"The batch norm {part.name!r} is made by the code of the layer {owner.name!r} "
            f"({type(owner).__name__}) and does not appear in its config, so it cannot be "
            f"converted. Use `{target.__name__}` in that code instead."
        )
    if isinstance(part, keras.layers.BatchNormalization) and type(part) not in _CONVERTIBLE:
        warn_user(
            f"The layer {part.name!r} is of class {type(part).__name__}, a subclass of "
            "BatchNormalization whose meaning only its author knows. It is left as it is."
        )


def _inner_models(model: keras.Model) -> list[keras.Model]:
    return [layer for layer in model.layers if isinstance(layer, keras.Function | keras.Sequential)]


def _match_models(model: keras.Model, copy: keras.Model) -> None:
    """Gives nested models their flags, and inputs their names, which Keras takes from tensors."""
    # From the outside in: setting a model's flag sets its layers', which are set afterwards.
    copy.trainable = model.trainable
    for layer, layer_copy in zip(_input_layers(model), _input_layers(copy), strict=True):
        layer_copy.name = layer.name
    for inner in _inner_models(model):
        _match_models(inner, copy.get_layer(inner.name))


def _input_layers(model: keras.Model) -> list[keras.layers.InputLayer]:
    """The model's input layers, in the order of its inputs."""
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]
    of_tensor = {id(layer.output): layer for layer in layers}
    return [of_tensor[id(tensor)] for tensor in model.inputs if id(tensor) in of_tensor]
