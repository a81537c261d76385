"""The first weights in an `.npz` file, and whether they fit a model."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_bigbatch._typing import Tensor
from keras_bigbatch.callbacks._stored_arrays import MEND, StoredArray, StoredArrays

_WEIGHT = "w_0/"


def named_weights(
    variables: Sequence[Any], reference: Sequence[Tensor]
) -> Iterator[tuple[str, StoredArray]]:
    """Yields the name and the value of each variable in the file, one at a time."""
    for index, (variable, value) in enumerate(zip(variables, reference, strict=True)):
        yield f"{_WEIGHT}{index}/{variable.path}", _plain_float(value)


def has_weights(stored: StoredArrays) -> bool:
    """Whether the file has the first weights."""
    return any(name.startswith(_WEIGHT) for name in stored.names)


def read_weights(stored: StoredArrays, variables: Sequence[Any]) -> list[StoredArray]:
    """Returns the first weights in the order of `variables`, or raises a `ValueError`."""
    path = stored.path
    names = [name for name in stored.names if name.startswith(_WEIGHT)]
    if len(names) != len(variables):
        raise ValueError(
            f"'{path}' has {len(names)} trainable variables, but the model has {len(variables)}. "
            f"Freeze and unfreeze the same layers as in the first run. {MEND}"
        )
    for name, variable in zip(names, variables, strict=True):
        if _uncounted(_path_of(name)) != _uncounted(variable.path):
            raise ValueError(
                f"'{path}' has a variable '{_path_of(name)}' where the model has "
                f"'{variable.path}'. "
                f"Build the model, and name its layers, as in the first run. {MEND}"
            )
    weights = []
    for name, variable in zip(names, variables, strict=True):
        weights.append(stored.read(name))
        if weights[-1].shape != tuple(variable.shape):
            raise ValueError(
                f"'{path}' has variable '{_path_of(name)}' with shape {weights[-1].shape}, but "
                f"the model's '{variable.path}' has {tuple(variable.shape)}. "
                f"Build the model as in the first run. {MEND}"
            )
        if not np.issubdtype(weights[-1].dtype, np.floating):
            raise stored.damaged(f"'{name}' has type {weights[-1].dtype}")
    return weights


def _path_of(name: str) -> str:
    return name.removeprefix(_WEIGHT).partition("/")[2]


def _uncounted(path: str) -> str:
    """Removes Keras's counters: a model built twice in a process has `dense`, then `dense_1`."""
    return re.sub(r"_\d+(?=/|$)", "", path)


def _plain_float(tensor: Tensor) -> StoredArray:
    """Converts to float32 or float64: NumPy's files have no bfloat16, and widening is exact."""
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    return array if array.dtype == np.float64 else array.astype(np.float32)
