"""A data set as batches that can be read again and again."""

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_bigbatch._arguments import positive_integer

# (x, y, sample_weight), each an array, a nested structure of arrays, or None.
Batch = tuple[Any, Any, Any]

_DEFAULT_SIZE = 256


class Batches:
    """Batches of `(x, y, sample_weight)`. Each iteration starts again from the first batch.

    Args:
        x: Arrays or tensors, or lists and dictionaries of them, with one sample per row. Or an
            object that yields batches of `(x, y)` or `(x, y, sample_weight)` and can be read more
            than once: a `tf.data.Dataset`, a torch `DataLoader`, a `keras.utils.PyDataset`, or a
            list-like class of your own with `__iter__`.
        y: Targets, in the same form as `x`. Only if `x` is arrays.
        sample_weight: Weights of the samples, like `y`. Only if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None. The last batch may be smaller.
        once: Whether to accept data that can be read only once, such as a generator.

    Raises:
        ValueError: If the arrays differ in length or are empty, if an argument is passed that a
            data set itself provides, or if the data can be read only once or never end. While they
            are read: if a batch is not valid, or its structure differs from that of the first.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        batch_size: int | None = None,
        *,
        once: bool = False,
    ) -> None:
        self._data: Any = x
        self._is_arrays = is_arrays(x)
        if self._is_arrays:
            size = _DEFAULT_SIZE if batch_size is None else batch_size
            self._size = positive_integer("batch_size", size, "It counts the samples of a batch.")
            self._data = keras.tree.map_structure(on_host, (x, y, sample_weight))
            self._samples = _samples(self._data)
        else:
            _check_stream(x, y, sample_weight, batch_size, once)

    def __iter__(self) -> Generator[tuple[int, Batch], None, None]:
        """Yields the number of samples and the batch."""
        if self._is_arrays:
            for start in range(0, self._samples, self._size):
                rows = slice(start, min(start + self._size, self._samples))
                yield rows.stop - rows.start, self._map(lambda leaf: leaf[rows], self._data)  # noqa: B023
            return
        structure = None
        for number, batch in enumerate(_stream(self._data)):
            unpacked = _unpacked(batch)
            if structure is None:
                structure, first = _structure(unpacked), described(unpacked)
            elif _structure(unpacked) != structure:
                raise ValueError(
                    "All batches of a data set must have the same structure. Received, as (x, y, "
                    f"sample_weight): {first} in the first batch and {described(unpacked)} in "
                    f"batch {number + 1}."
                )
            parts = self._map(lambda leaf: leaf, unpacked)
            counted = next(leaf for leaf in keras.tree.flatten(parts[0]) if leaf is not None)
            yield int(counted.shape[0]), parts
        if structure is None:
            raise ValueError(
                f"The data set has no batches. Received: x={self._data!r}. If it can be read only "
                "once, pass what creates it, or arrays."
            )

    def first_samples(self, most: int) -> Batch:
        """Returns a batch of the first samples. It is not a reading: later draws stay the same."""
        with contextlib.closing(Batches.__iter__(self)) as batches:
            _, batch = next(batches)
        return self._map(lambda leaf: leaf[:most], batch)

    @property
    def is_arrays(self) -> bool:
        """Whether the data are arrays rather than a data set."""
        return self._is_arrays

    @property
    def number(self) -> int | None:
        """The number of batches, or None if it is unknown."""
        if self._is_arrays:
            return -(-self._samples // self._size)
        return number_of_batches(self._data)

    @staticmethod
    def _map(pick: Any, structure: Any) -> Any:
        def leaf(value: Any) -> Any:
            return None if value is None else _as_array(pick(value))

        return keras.tree.map_structure(leaf, structure)


def described(structure: Any) -> str:
    """Describes the structure by the shape of each array, with None for the batch axis."""

    def shape(leaf: Any) -> Any:
        if leaf is None:
            return None
        sizes = tuple(getattr(leaf, "shape", ()))
        return (None, *sizes[1:]) if sizes else type(leaf)

    return str(keras.tree.map_structure(shape, structure))


def is_arrays(x: Any) -> bool:
    """Whether `x` is arrays, or a structure of them, rather than a data set."""
    if isinstance(x, keras.utils.PyDataset):
        return False
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)


def number_of_batches(data: Any) -> int | None:
    """The number of batches of a data set, or None if the data set does not know it."""
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches
    try:
        return len(data)
    except TypeError:  # unknown or infinite
        return None


def on_host(leaf: Any) -> Any:
    """Converts tensors to arrays, to be cut on the host. What is read in pieces stays as it is."""
    return ops.convert_to_numpy(leaf) if ops.is_tensor(leaf) else leaf


def _as_array(leaf: Any) -> Any:
    """Converts to what the backend takes. Floats get Keras's own precision, as in `fit`."""
    if ops.is_tensor(leaf):
        return leaf
    array = np.asarray(leaf)
    return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array


def _samples(data: Batch) -> int:
    leaves = [leaf for leaf in keras.tree.flatten(data) if leaf is not None]
    if not all(hasattr(leaf, "shape") for leaf in leaves):
        raise ValueError(
            "`y` and `sample_weight` must be arrays, as `x` is. Received types: "
            f"{sorted({type(leaf).__name__ for leaf in leaves})}. Convert them with `np.asarray`."
        )
    if not all(len(leaf.shape) for leaf in leaves):
        raise ValueError(
            "`x`, `y` and `sample_weight` must have one sample per row. Received: a single number, "
            "which has no rows."
        )
    lengths = sorted({int(leaf.shape[0]) for leaf in leaves})
    if len(lengths) != 1 or lengths[0] == 0:
        raise ValueError(
            "`x`, `y` and `sample_weight` must have the same number of samples, one or more. "
            f"Received: {lengths} rows."
        )
    return lengths[0]


def _check_stream(x: Any, y: Any, sample_weight: Any, batch_size: Any, once: bool) -> None:
    kind = type(x).__name__
    wanted = (
        "`x` must be arrays, or a data set that yields batches: tf.data, torch's DataLoader, "
        "PyDataset."
    )
    if isinstance(x, str | bytes):
        raise ValueError(f"{wanted} Received: x={x!r}. Load the data and pass them.")
    if isinstance(x, list | tuple | dict):
        leaves = sorted({type(leaf).__name__ for leaf in keras.tree.flatten(x)})
        raise ValueError(
            f"{wanted} Received: x, a {kind} of {' and '.join(leaves) or 'nothing'}. Convert lists "
            "of numbers with `np.asarray`."
        )
    if not (isinstance(x, keras.utils.PyDataset) or hasattr(x, "__iter__")):
        raise ValueError(f"{wanted} Received: x of type {kind}.")
    given = {"y": y, "sample_weight": sample_weight, "batch_size": batch_size}
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"`{name}` must not be passed with a data set, which provides it. "
                f"Received: x of type {kind} and {name} of type {type(value).__name__}."
            )
    if hasattr(x, "__next__") and not once:
        raise ValueError(
            f"`x` can be read only once. Received: x of type {kind}. A measurement reads the data "
            "many times: pass arrays, a tf.data.Dataset, a DataLoader or a PyDataset."
        )
    endless = isinstance(x, keras.utils.PyDataset) and x.num_batches is None
    if endless or (hasattr(x, "cardinality") and int(x.cardinality()) == -1):
        raise ValueError(
            f"`x` never ends. Received: x of type {kind}. Leave out `repeat()` or add `take(n)`."
        )


def _stream(data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        return (data[index] for index in range(data.num_batches))
    return iter(data)


def _unpacked(batch: Any) -> Batch:
    """Returns the batch as `(x, y, sample_weight)`, with None for missing parts."""
    wanted = "A data set must yield batches of arrays: `x`, `(x, y)` or `(x, y, sample_weight)`."
    if isinstance(batch, list | tuple) and not 1 <= len(batch) <= 3:
        raise ValueError(f"{wanted} Received: a {type(batch).__name__} of {len(batch)} parts.")
    parts: Batch = keras.utils.unpack_x_y_sample_weight(batch)
    leaves = [leaf for leaf in keras.tree.flatten(parts[0]) if leaf is not None]
    if not leaves or not len(getattr(leaves[0], "shape", ())):
        kinds = sorted({type(leaf).__name__ for leaf in leaves}) or ["None"]
        raise ValueError(f"{wanted} Received: x of {' and '.join(kinds)}, which has no rows.")
    return parts


def _structure(batch: Batch) -> Any:
    return keras.tree.map_structure(lambda leaf: leaf is not None, batch)
