"""The warning of layer-wise optimizers on variables that start at zero."""

import re
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._user_warnings import is_restored, warn_user

# How many variables a message names.
_NAMED = 4


def warn_of_zero_start(optimizer: Any, variables: Sequence[keras.Variable]) -> None:
    """Warns of variables of zeros, according to what the optimizer's rule does with them.

    Args:
        optimizer: A `LayerwiseOptimizer`.
        variables: Its variables that adapt.
    """
    # Keras creates a saved model's optimizer before it loads the weights.
    if is_restored():
        return
    leaping, stuck = [], []
    backend = _backend.active().optimizer
    with backend.at_once():
        for variable in variables:
            # Under float8 Keras replaces some variables by their gradients.
            if getattr(variable, "overwrite_with_gradient", False):
                continue
            if backend.all_zero(variable):
                ratio = _ratio_at_zero(optimizer, variable)
                if ratio.ndim:
                    stuck += [] if ratio.any() else [variable]
                elif not 0 < ratio < float("inf"):
                    leaping.append(variable)
    name = type(optimizer).__name__
    if leaping and optimizer.trust_coefficient < 1:
        times = 1 / optimizer.trust_coefficient
        warn_user(
            f"{name} on variables that start at zero: {_named(leaping)}. A step relative to zero "
            "would be no step, so the first is that of plain SGD at `learning_rate`: about "
            f"1 / trust_coefficient = {times:.0f} times a usual one, which may break training. "
            "Start them from small random values; or, if plain SGD at this rate suits them, "
            f"exclude them: exclude={_excluding(optimizer, leaping)}.",
            about=optimizer,
        )
    if stuck:
        warn_user(
            f"{name} on variables that start at zero: {_named(stuck)}. It never moves a weight "
            "that is zero. Start them from random values; or exclude them, which gives them plain "
            f"SGD at `learning_rate`: exclude={_excluding(optimizer, stuck)}.",
            about=optimizer,
        )


def _ratio_at_zero(optimizer: Any, variable: keras.Variable) -> Any:
    wide = keras.backend.result_type(variable.dtype, "float32")
    weight = ops.cast(variable, wide)
    ratio = optimizer.trust_ratio(weight, ops.ones_like(weight), optimizer.weight_decay)
    return ops.convert_to_numpy(ops.cast(ratio, wide))


def _path(variable: keras.Variable) -> str:
    return str(getattr(variable, "path", variable.name))


def _named(variables: Sequence[keras.Variable]) -> str:
    paths = ", ".join(repr(_path(variable)) for variable in variables[:_NAMED])
    more = len(variables) - _NAMED
    return f"{paths} and {more} more" if more > 0 else paths


def _excluding(optimizer: Any, variables: Sequence[keras.Variable]) -> str:
    # From the path, the names of layer and variable: a model's name may have Keras's number.
    ends = ("/".join(_path(variable).split("/")[-2:]) for variable in variables[:_NAMED])
    patterns = [re.escape(end) for end in ends]
    entries = [repr(pattern) for pattern in (*optimizer.exclude, *patterns)]
    more = ["..."] if len(variables) > _NAMED else []
    return f"({', '.join(entries + more)})"
