"""The `.npz` file in which `WeightDistance` keeps the first weights and the history."""

import os
import re
import zipfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_bigbatch._typing import Tensor

StoredArray = npt.NDArray[np.generic]

_WEIGHT = "w_0/"
_MEND = "Pass another `path`, or delete the file and train from the start."


def checked_path(path: Any) -> str | None:
    """Returns `path` as a string (`None` stays), or raises a `ValueError`."""
    if path is None:
        return None
    if isinstance(path, str | os.PathLike):
        plain = os.fspath(path)
        if isinstance(plain, str) and plain.endswith(".npz"):
            return plain
    raise ValueError(
        f"`path` must be None or the name of one .npz file. Received: path={path!r}. "
        "For example 'run/weight_distance.npz'; missing folders are made."
    )


def save(
    path: str, variables: Sequence[Any], reference: Sequence[Tensor], history: dict[str, Any]
) -> None:
    """Writes the file, so that at any moment the old or the new one is there whole."""
    content: dict[str, StoredArray] = {
        "update": np.array(history["update"], np.int64),
        "distance": np.array(history["distance"], np.float64),
    }
    if "layers" in history:
        content["layers"] = np.array(list(history["layers"].values()), np.float64)
    for index, (variable, value) in enumerate(zip(variables, reference, strict=True)):
        content[f"{_WEIGHT}{index}/{variable.path}"] = _plain_float(value)
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    # In the same folder, since a rename is atomic only within one file system.
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            # The stubs take every keyword for `allow_pickle`.
            np.savez(file, **content)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def load(
    path: str, variables: Sequence[Any], layers: Sequence[str] | None, updates: int
) -> tuple[list[StoredArray], dict[str, Any]]:
    """Reads the first weights of `variables`, and the history up to `updates`.

    Args:
        path: The file.
        variables: The model's trainable variables, which must be those in the file.
        layers: The keys of the history's `layers`, or None if there are none.
        updates: What came later in the file belongs to updates that will be made again.
    """
    try:
        # NumPy leaves a file open that it opened and could not read.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
        kept = content["update"] <= updates
        history: dict[str, Any] = {
            "update": content["update"][kept].tolist(),
            "distance": content["distance"][kept].tolist(),
        }
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"'{path}' is not a file that WeightDistance wrote. {_MEND}") from error
    if layers is not None:
        if "layers" not in content:
            raise ValueError(
                f"'{path}' has no distances of single layers: it was written with per_layer=False. "
                f"Pass per_layer=False again. {_MEND}"
            )
        columns = content["layers"][:, kept].tolist()
        history["layers"] = dict(zip(layers, columns, strict=True))
    return _matched_weights(path, content, variables), history


def _matched_weights(
    path: str, content: dict[str, StoredArray], variables: Sequence[Any]
) -> list[StoredArray]:
    """The first weights, in the order of `variables`; a `ValueError` where they do not fit."""
    names = [name for name in content if name.startswith(_WEIGHT)]
    if len(names) != len(variables):
        raise ValueError(
            f"'{path}' has {len(names)} trainable variables, the model has {len(variables)}. "
            f"Freeze and unfreeze the same layers as in the first run. {_MEND}"
        )
    for name, variable in zip(names, variables, strict=True):
        stored = name.removeprefix(_WEIGHT).split("/", 1)[1]
        if _uncounted(stored) != _uncounted(variable.path):
            raise ValueError(
                f"'{path}' has a variable '{stored}' where the model has '{variable.path}'. "
                f"Build the model, and name its layers, as in the first run. {_MEND}"
            )
        if content[name].shape != tuple(variable.shape):
            raise ValueError(
                f"'{path}' has variable '{stored}' with shape {content[name].shape}, the model's "
                f"'{variable.path}' has {tuple(variable.shape)}. "
                f"Build the model as in the first run. {_MEND}"
            )
    return [content[name] for name in names]


def _uncounted(path: str) -> str:
    """Without Keras's counters: a model built twice in a process has `dense`, then `dense_1`."""
    return re.sub(r"_\d+(?=/|$)", "", path)


def _plain_float(tensor: Tensor) -> StoredArray:
    """As float32 or float64: NumPy's files know no bfloat16, and widening is exact."""
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    return array if array.dtype == np.float64 else array.astype(np.float32)
