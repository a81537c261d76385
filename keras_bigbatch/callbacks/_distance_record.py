"""The measurements of `WeightDistance`, and their arrays in an `.npz` file."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_bigbatch._typing import Array
from keras_bigbatch.callbacks._stored_arrays import MEND, StoredArray, StoredArrays


@dataclasses.dataclass
class Record:
    """The measurements of a run.

    Attributes:
        history: The `history` of `WeightDistance`.
        origin: The optimizer's updates when w_0 was taken.
        rates: For the end of each epoch the update, the learning rate from then on, and the drops
            so far. Only `ReduceLROnWeightDistance` has any.
    """

    history: dict[str, Any]
    origin: int
    rates: list[list[float]] = dataclasses.field(default_factory=list)


def named_record(record: Record, digest: str) -> Iterator[tuple[str, StoredArray]]:
    yield "update", np.array(record.history["update"], np.int64)
    yield "distance", np.array(record.history["distance"], np.float64)
    if "layers" in record.history:
        yield "layers", np.array(list(record.history["layers"].values()), np.float64)
    if record.rates:
        yield "rates", np.array(record.rates, np.float64)
    yield "origin", np.array(record.origin, np.int64)
    yield "w_0", np.array(digest)


def read_record(stored: StoredArrays, layers: Sequence[str] | None) -> Record:
    update, distance = stored.read("update"), stored.read("distance")
    if update.dtype.kind != "i" or update.ndim != 1 or (np.diff(update) <= 0).any():
        raise stored.damaged("its updates do not increase")
    if distance.dtype.kind != "f" or distance.shape != update.shape:
        raise stored.damaged("it does not have one distance per update")
    history: dict[str, Any] = {"update": update.tolist(), "distance": distance.tolist()}
    if layers is not None:
        if "layers" not in stored.names:
            raise ValueError(
                f"'{stored.path}' has no distances per layer: it was written with "
                f"per_layer=False. Pass per_layer=False again. {MEND}"
            )
        columns = stored.read("layers")
        if columns.dtype.kind != "f" or columns.shape != (len(layers), len(update)):
            raise stored.damaged("it does not have one distance per update and layer")
        history["layers"] = dict(zip(layers, columns.tolist(), strict=True))
    origin = stored.read("origin") if "origin" in stored.names else np.array(0)
    if origin.dtype.kind != "i" or origin.shape != ():
        raise stored.damaged("it does not say when it began")
    rates: Array = np.zeros((0, 3))
    if "rates" in stored.names:
        rates = np.asarray(stored.read("rates"))
        if rates.dtype.kind != "f" or rates.ndim != 2 or rates.shape[1] != 3:
            raise stored.damaged("its rates are not those of epochs")
    return Record(history, int(origin), rates.tolist())


def cut(record: Record, updates: int) -> None:
    """Removes what came after `updates`."""
    history = record.history
    kept = sum(update <= updates for update in history["update"])
    for column in (history["update"], history["distance"], *history.get("layers", {}).values()):
        del column[kept:]
    record.rates = [row for row in record.rates if row[0] <= updates]
