"""The data for the `fit` of each stage."""

import math
from typing import Any

import keras
import numpy as np

from keras_bigbatch._measuring.batches import number_of_batches
from keras_bigbatch.training._batch_stage import BatchStage

_FUNCTION = (
    "For other data, pass a function of the batch size that returns what `fit` takes: `lambda "
    "batch: dataset.batch(batch)` for a `tf.data.Dataset` of single samples, `lambda batch: "
    "DataLoader(dataset, batch_size=batch)`, or a function that makes a `PyDataset`."
)


class StageData:
    """Arrays, or a function of the batch size that returns a data set.

    Args:
        x: As in `fit_stages`.
        y: As in `fit_stages`.
        sample_weight: As in `fit_stages`.
        validation_split: As in `fit_stages`.
        shuffle: As in `fit_stages`.
        seed: As in `fit_stages`.
        stages: All stages.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        sample_weight: Any,
        validation_split: float,
        shuffle: bool,
        seed: int | None,
        stages: tuple[BatchStage, ...],
    ) -> None:
        self._arrays = (x, y, sample_weight)
        self._split = validation_split
        self._shuffle = shuffle
        self._seed = seed
        self._is_function = callable(x)
        if self._is_function:
            self._check_function_alone()
            return
        leaves = [leaf for leaf in keras.tree.flatten(self._arrays) if leaf is not None]
        if not leaves or not all(getattr(leaf, "shape", None) for leaf in leaves):
            raise ValueError(
                "`x`, `y` and `sample_weight` must be arrays, or lists or dictionaries of arrays. "
                f"Received: x of type {type(x).__name__}. {_FUNCTION}"
            )
        samples = int(leaves[0].shape[0])
        # Keras takes the last samples for validation, and rounds like this.
        self._samples = math.floor(samples * (1.0 - validation_split))
        for stage in stages:
            if stage.batch > self._samples:
                raise ValueError(
                    "A batch cannot be larger than the data set. Received: a stage with batch="
                    f"{stage.batch}, and {self._samples} samples to train with. Choose a smaller "
                    "one: the stage's learning rate is for a batch that never occurs."
                )
        if seed is not None:
            if shuffle is not True or any(stage.steps_per_epoch for stage in stages):
                raise ValueError(
                    "`seed` sets the order of whole epochs: it needs shuffle=True, and stages "
                    f"without `steps_per_epoch`. Received: seed={seed}, shuffle={shuffle!r}."
                )
            self._arrays = keras.tree.map_structure(_as_numpy, self._arrays)

    def _check_function_alone(self) -> None:
        _, y, sample_weight = self._arrays
        for name, value in [
            ("y", y),
            ("sample_weight", sample_weight),
            ("validation_split", self._split or None),
            ("seed", self._seed),
        ]:
            if value is not None:
                raise ValueError(
                    f"`{name}` needs arrays. Received: `{name}` with a function as `x`. The data "
                    "sets that it returns have their own targets, weights and order; pass "
                    "validation data as `validation_data`."
                )

    def of(self, stage: BatchStage) -> tuple[dict[str, Any], int | None]:
        """Returns the arguments of the stage's `fit`, and its steps per epoch if known."""
        if self._is_function:
            data = self._arrays[0](stage.batch)
            if data is None or isinstance(data, tuple | list | dict) or hasattr(data, "shape"):
                raise ValueError(
                    "The function passed as `x` must return a data set whose elements are batches. "
                    f"Received: {type(data).__name__} for a batch of {stage.batch}. Pass arrays "
                    "directly as `x` and `y`."
                )
            # Keras warns of `shuffle`, even of its default, where it has no effect.
            shuffle = self._shuffle if isinstance(data, keras.utils.PyDataset) else False
            arguments = {"x": data, "shuffle": shuffle}
            length = number_of_batches(data)
        elif self._seed is not None:
            data = _SeededBatches(self._arrays, self._samples, stage.batch, self._seed)
            arguments, length = {"x": data, "shuffle": False}, len(data)
        else:
            names = ("x", "y", "sample_weight")
            arguments = dict(zip(names, self._arrays, strict=True))
            arguments |= {"batch_size": stage.batch, "shuffle": self._shuffle}
            arguments |= {"validation_split": self._split}
            length = math.ceil(self._samples / stage.batch)
        arguments["steps_per_epoch"] = stage.steps_per_epoch
        return arguments, stage.steps_per_epoch or length

    def to_measure(self, batch: int) -> tuple[Any, Any, Any]:
        """What is trained on, as `(x, y, sample_weight)`, for a reader beside `fit`."""
        if self._is_function:
            return self._arrays[0](batch), None, None
        if not self._split:
            return self._arrays
        trained: tuple[Any, Any, Any] = keras.tree.map_structure(
            lambda array: None if array is None else array[: self._samples], self._arrays
        )
        return trained

    def validation(self) -> Any:
        """Returns the validation data that `fit` does not split off itself, or None."""
        if self._seed is None or not self._split:
            return None
        rest = keras.tree.map_structure(
            lambda array: None if array is None else array[self._samples :], self._arrays
        )
        return rest if rest[2] is not None else rest[:2]


class _SeededBatches(keras.utils.PyDataset):
    """Batches of arrays, in an order that depends only on the seed and the epoch."""

    def __init__(self, arrays: Any, samples: int, batch: int, seed: int) -> None:
        super().__init__()
        self._arrays = keras.tree.lists_to_tuples(arrays)
        self._samples = samples
        self._batch = batch
        self._seed = seed
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Sets the order. A `PyDataset` is not told its epoch, and Keras begins too many."""
        order = np.random.default_rng([self._seed, epoch])
        self._order = order.permutation(self._samples)

    def __len__(self) -> int:
        return math.ceil(self._samples / self._batch)

    def __getitem__(self, index: int) -> Any:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]

        def part(array: Any) -> Any:
            if array is None:
                return None
            rows = array[chosen]
            is_float = rows.dtype.kind == "f"
            return rows.astype(keras.config.floatx(), copy=False) if is_float else rows

        return keras.utils.pack_x_y_sample_weight(
            *(keras.tree.map_structure(part, array) for array in self._arrays)
        )


def _as_numpy(array: Any) -> Any:
    if array is None or isinstance(array, np.ndarray):
        return array
    dense = keras.ops.convert_to_numpy(array) if keras.ops.is_tensor(array) else np.asarray(array)
    if dense.shape != tuple(array.shape):
        raise ValueError(
            f"`seed` needs dense arrays. Received: a {type(array).__name__}. Leave out `seed`, or "
            "pass a function of the batch size as `x`."
        )
    return dense
