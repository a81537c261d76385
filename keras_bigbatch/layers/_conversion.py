"""Conversion of whole models between plain and ghost batch normalization."""

import re
from collections.abc import Sequence
from typing import Any

import keras

from keras_bigbatch._arguments import boolean, patterns, positive_integer
from keras_bigbatch._private_api import models
from keras_bigbatch._user_warnings import warn_user
from keras_bigbatch.layers._class_change import (
    CONVERTIBLE,
    MadeAgain,
    batch_norms,
    become_ghost,
    become_plain,
    convertible,
    forget,
    ghost_of,
)
from keras_bigbatch.layers._ghost_model import ghost_class, plain_class
from keras_bigbatch.layers._model_copy import copied, made_in_code
from keras_bigbatch.layers._moving_statistics import Statistics


def to_ghost(
    model: keras.Model,
    virtual_batch: int = 128,
    momentum: float | None = None,
    statistics: Statistics | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    in_place: bool = False,
) -> keras.Model:
    """Returns a model with ghost batch norm in place of every batch norm.

    Use it to train an existing model, from `keras.applications`, KerasHub or your own code, at a
    larger batch. By default, the result is a copy with the original's weights, names, flags and
    layer state. It makes the same predictions, and the original is not changed. Batch norms inside
    nested models, wrappers and custom layers are converted too, and shared layers stay shared. If a
    layer is already a ghost batch norm, it gets the new size.

    A converted layer has the class `GhostBatchNormalization`. In models whose own code creates the
    layer, it is instead an instance of a subclass with Keras's class name, so that weight files
    still load. `isinstance(layer, GhostBatchNormalization)` is true for both. `.keras` files
    restore the ghost batches, but `keras.models.clone_model` turns layers of that subclass back
    into plain ones.

    The copy is not compiled, because the optimizer's momenta belong to the original's variables.
    With `in_place=True`, a compiled model stays compiled, and training continues with its
    optimizer.

    Args:
        model: Any built model.
        virtual_batch: Samples in a ghost batch.
        momentum: Momentum of the moving statistics. None keeps each layer's momentum. Some models
            in `keras.applications` use 0.999. If you train for fewer than a few thousand groups,
            use a smaller momentum.
        statistics: As for `GhostBatchNormalization`. None means its default, or the layer's setting
            if it has one.
        only: Regular expressions. Only layers whose path contains a match are converted.
        skip: Regular expressions. Layers whose path contains a match are not converted.
        in_place: Whether to convert the model itself instead of a copy.

    Returns:
        The copy, or the model itself if `in_place` is true.

    Warns if there is nothing to convert.

    Raises:
        ValueError: If an argument is out of range, the model is not built, a batch norm uses
            `renorm` or `synchronized`, or the model cannot be recreated from its config (only
            needed for a copy). In all these cases, the model is left unchanged.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    model = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), classes=10)
    model = kbb.layers.to_ghost(model, virtual_batch=32, momentum=0.9)
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    ```

    References:
        - [Hoffer, Hubara & Soudry, 2017](https://arxiv.org/abs/1705.08741), Algorithm 1
    """
    virtual_batch = positive_integer(
        "virtual_batch", virtual_batch, "It is the number of samples in a ghost batch."
    )
    hint = "patterns are searched for in a layer's path, as `ghost_summary` prints it."
    only, skip = patterns("only", only, hint), patterns("skip", skip, hint)
    _check(model, in_place)
    chosen = [
        layer
        for layer in convertible(model)
        if (not only or _found(only, layer)) and not _found(skip, layer)
    ]
    _warn_of_what_is_left(model, chosen, only, skip)
    # Check all layers before changing any.
    ghosts = [
        ghost_of(layer, virtual_batch, momentum=momentum, statistics=statistics) for layer in chosen
    ]
    converted = model if in_place else copied(model)
    places = {id(layer): place for place, layer in enumerate(convertible(model))}
    layers = convertible(converted)
    for layer, ghost in zip(chosen, ghosts, strict=True):
        become_ghost(layers[places[id(layer)]], ghost)
    # From the outside in: an inner model, such as a task's backbone, may be saved on its own.
    for part in models(converted):
        for layer in made_in_code(part):
            layer.__class__ = MadeAgain
            part.__class__ = ghost_class(type(part))
    forget(converted)
    return converted


def to_plain(model: keras.Model, in_place: bool = False) -> keras.Model:
    """Returns a model with Keras's own batch norm in place of every ghost batch norm.

    Use it to share a trained model with people or tools that do not have this package. Both models
    give the same results in inference. The function keeps everything that `to_ghost` keeps.

    Args:
        model: Any built model.
        in_place: Whether to convert the model itself instead of a copy.

    Returns:
        The copy, which is not compiled, or the model itself if `in_place` is true.

    Raises:
        ValueError: If the model is not built or cannot be copied, as for `to_ghost`.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.Input((4,)), kbb.GhostBatchNormalization(virtual_batch=32)])
    plain = kbb.layers.to_plain(model)
    print(type(plain.layers[0]))  # keras.layers.BatchNormalization
    ```
    """
    _check(model, in_place)
    converted = model if in_place else copied(model)
    for layer in convertible(converted):
        become_plain(layer)
    for part in models(converted):
        part.__class__ = plain_class(type(part))
    forget(converted)
    return converted


def _check(model: Any, in_place: bool) -> None:
    boolean("in_place", in_place)
    if not isinstance(model, keras.Model):
        raise ValueError(f"`model` must be a `keras.Model`. Received: {model!r}.")
    if not model.built:
        raise ValueError(
            f"The model {model.name!r} has no weights to carry over yet. Give it a `keras.Input` "
            "or call it on data, then convert it."
        )


def _found(expressions: Sequence[str], layer: Any) -> bool:
    return any(re.search(expression, layer.path) for expression in expressions)


def _warn_of_what_is_left(
    model: keras.Model, chosen: Sequence[Any], only: Sequence[str], skip: Sequence[str]
) -> None:
    """Warns of custom batch norms, and if there is nothing to convert."""
    norms = batch_norms(model)
    for part in norms:
        if type(part) not in CONVERTIBLE:
            warn_user(
                f"The layer {part.name!r} is of class {type(part).__name__}, a subclass of "
                "BatchNormalization, which may behave differently. It is not converted."
            )
    if not norms:
        warn_user(
            f"The model {model.name!r} has no batch norm, so there is nothing to convert: it "
            "trains as before. Ghost batches are for `BatchNormalization` only; other norm layers "
            "do not depend on the batch."
        )
    elif not chosen and (only or skip):
        paths = ", ".join(each.path for each in norms[:4])
        warn_user(
            f"No batch norm of {model.name!r} is left to convert. Received: only={only}, "
            f"skip={skip}. The paths of its batch norms are {paths}"
            f"{' and others' if len(norms) > 4 else ''}."
        )
