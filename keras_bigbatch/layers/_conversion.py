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

    Use it to train a model that you already have, of `keras.applications`, of KerasHub or of your
    own code, at a larger batch. By default it is a copy, with the original's weights, names, flags
    and whatever its layers hold; it predicts the same, and the original is left alone. Batch norms
    inside nested models, wrappers and custom layers are converted as well, and shared layers stay
    shared. A layer that is a ghost batch norm already gets the new size.

    A batch norm becomes a ghost one by its class, which is `GhostBatchNormalization` or, where the
    model's own code makes the layer, a subclass of it under Keras's name, so that files of weights
    fit. `isinstance(layer, GhostBatchNormalization)` holds for all. `.keras` files come back with
    the ghost batches. `keras.models.clone_model` makes plain layers of those again.

    A copy is not compiled: an optimizer's momenta belong to the original's variables. With
    `in_place=True` a compiled model stays so, and a training goes on with its optimizer.

    Args:
        model: Any model, built.
        virtual_batch: Samples in a ghost batch.
        momentum: Of the moving statistics; None keeps the layers' own. Some of `keras.applications`
            have 0.999: a training of fewer than some thousand groups needs a smaller one.
        statistics: As for `GhostBatchNormalization`; None is its default, or the layer's own.
        only: Regular expressions; only layers in whose path one is found are converted.
        skip: Regular expressions; layers in whose path one is found are not.
        in_place: Whether to convert the model itself.

    Returns:
        The copy, or with `in_place` the model.

    Warns where there is nothing to convert.

    Raises:
        ValueError: If an argument is out of range, the model is not built, a batch norm uses
            `renorm` or `synchronized`, or the config does not make the model again, which
            `in_place=True` does not need. Nothing is changed then.

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
    hint = "a layer is looked for by its path, as `ghost_summary` prints it."
    only, skip = patterns("only", only, hint), patterns("skip", skip, hint)
    _check(model, in_place)
    chosen = [
        layer
        for layer in convertible(model)
        if (not only or _found(only, layer)) and not _found(skip, layer)
    ]
    _warn_of_what_is_left(model, chosen, only, skip)
    # All are checked before any is changed.
    ghosts = [
        ghost_of(layer, virtual_batch, momentum=momentum, statistics=statistics) for layer in chosen
    ]
    converted = model if in_place else copied(model)
    places = {id(layer): place for place, layer in enumerate(convertible(model))}
    layers = convertible(converted)
    for layer, ghost in zip(chosen, ghosts, strict=True):
        become_ghost(layers[places[id(layer)]], ghost)
    # From the outside in: a model inside, as a task's backbone, may be taken out and saved alone.
    for part in models(converted):
        for layer in made_in_code(part):
            layer.__class__ = MadeAgain
            part.__class__ = ghost_class(type(part))
    forget(converted)
    return converted


def to_plain(model: keras.Model, in_place: bool = False) -> keras.Model:
    """Returns a model with Keras's own batch norm in place of every ghost batch norm.

    Use it to hand a trained model to people or tools that do not have this package: in inference
    the two are the same. Everything that `to_ghost` keeps is kept here too.

    Args:
        model: Any model, built.
        in_place: Whether to convert the model itself, and not a copy.

    Returns:
        The copy, not compiled; with `in_place` the model.

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
    """Warns of batch norms that are somebody's own, and where there is nothing to convert."""
    norms = batch_norms(model)
    for part in norms:
        if type(part) not in CONVERTIBLE:
            warn_user(
                f"The layer {part.name!r} is of class {type(part).__name__}, a subclass of "
                "BatchNormalization whose meaning only its author knows. It is left as it is."
            )
    if not norms:
        warn_user(
            f"The model {model.name!r} has no batch norm, so there is nothing to convert: it "
            "trains as it did. Ghost batches are for `BatchNormalization` only; other norm layers "
            "do not depend on the batch."
        )
    elif not chosen and (only or skip):
        paths = ", ".join(each.path for each in norms[:4])
        warn_user(
            f"No batch norm of {model.name!r} is left to convert. Received: only={only}, "
            f"skip={skip}. The paths of its batch norms are {paths}"
            f"{' and others' if len(norms) > 4 else ''}."
        )
