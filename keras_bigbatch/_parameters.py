"""Which variables count, and their values as one flat vector."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_bigbatch._typing import Tensor, Vector


def trainable_variables(model: Any) -> list[Any]:
    """Returns the variables that training changes, in the model's order."""
    variables = list(model.trainable_variables)
    if not variables:
        raise ValueError(
            f"The model {model.name!r} has no trainable variables. If it is not built yet, call "
            "it on a batch first; if all its layers are frozen, set `trainable = True` on some."
        )
    return variables


def state_variables(model: Any) -> list[Any]:
    """Returns what else the forward pass reads: frozen weights, moving statistics, seeds."""
    return list(model.non_trainable_variables)


def vector_size(variables: Sequence[Any]) -> int:
    """Returns the number of values in all the variables."""
    return sum(math.prod(variable.shape) for variable in variables)


def vector_type(variables: Sequence[Any]) -> np.dtype[Any]:
    """Returns float64 if a variable has it, else float32: half precision is too coarse for sums."""
    wide = any(variable.dtype == "float64" for variable in variables)
    return np.dtype(np.float64 if wide else np.float32)


def flat(tensors: Sequence[Tensor], dtype: np.dtype[Any]) -> Vector:
    """Returns all values in one vector on the host, each tensor in C order."""
    vector = np.empty(sum(math.prod(tensor.shape) for tensor in tensors), dtype)
    start = 0
    for tensor in tensors:
        values = ops.convert_to_numpy(tensor)
        vector[start : start + values.size] = values.ravel()
        start += values.size
    return vector


def split(vector: Vector, variables: Sequence[Any]) -> list[Vector]:
    """Returns the vector's parts in the shapes of the variables, as views without a copy."""
    size = vector_size(variables)
    if vector.shape != (size,):
        raise ValueError(
            f"The vector must have the model's {size} trainable values, in the order of "
            f"`model.trainable_variables`. Received: shape {vector.shape}."
        )
    ends = np.cumsum([math.prod(variable.shape) for variable in variables])
    parts = np.split(vector, ends[:-1])
    return [part.reshape(v.shape) for part, v in zip(parts, variables, strict=True)]
