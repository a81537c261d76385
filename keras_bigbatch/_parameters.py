"""Which variables count, and their values as one flat vector."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_bigbatch._typing import Tensor, Vector


def trainable_variables(model: Any) -> list[Any]:
    """The variables that training moves, in the model's order: those of `trainable` layers."""
    variables = list(model.trainable_variables)
    if not variables:
        raise ValueError(
            f"The model {model.name!r} has no trainable variables. If it was not called yet, call "
            "it on a batch first; if all its layers are frozen, set `trainable = True` on some."
        )
    return variables


def state_variables(model: Any) -> list[Any]:
    """What else the forward pass reads: frozen weights, moving statistics, seeds."""
    return list(model.non_trainable_variables)


def vector_size(variables: Sequence[Any]) -> int:
    """The number of values in all the variables."""
    return sum(math.prod(variable.shape) for variable in variables)


def vector_type(variables: Sequence[Any]) -> np.dtype[Any]:
    """Float32, as half precision has too few digits to sum in; float64 if a variable is that."""
    wide = any(variable.dtype == "float64" for variable in variables)
    return np.dtype(np.float64 if wide else np.float32)


def flat(tensors: Sequence[Tensor], dtype: np.dtype[Any]) -> Vector:
    """All values one after the other, each tensor in C order, on the host."""
    vector = np.empty(sum(math.prod(tensor.shape) for tensor in tensors), dtype)
    start = 0
    for tensor in tensors:
        values = ops.convert_to_numpy(tensor)
        vector[start : start + values.size] = values.ravel()
        start += values.size
    return vector


def split(vector: Vector, variables: Sequence[Any]) -> list[Vector]:
    """The vector's parts in the shapes of the variables: views, nothing is copied."""
    size = vector_size(variables)
    if vector.shape != (size,):
        raise ValueError(
            f"A vector of the model's {size} trainable values is needed, one after the other in "
            f"the order of `model.trainable_variables`. Received: shape {vector.shape}."
        )
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])
    parts = np.split(vector, ends[:-1])
    return [part.reshape(v.shape) for part, v in zip(parts, variables, strict=True)]
