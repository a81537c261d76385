"""How far the weights are from where they started."""

# ruff: noqa: ARG002 (Keras calls the hooks with arguments that not all of them need)

import math
import os
import warnings
from typing import Any

import keras
import numpy as np

from keras_bigbatch import _backend
from keras_bigbatch._measuring import cadence
from keras_bigbatch._typing import Frequency, Tensor
from keras_bigbatch.callbacks import _distance_file as store
from keras_bigbatch.callbacks._distance_plot import draw_distance
from keras_bigbatch.diagnostics import DiffusionFit, fit_diffusion


class WeightDistance(keras.callbacks.Callback):
    """Measures the distance of the weights from their start, over optimizer updates.

    Use it to see whether a large-batch run gets as far from its start as the small-batch run that
    it replaces, and whether the distance grows with the logarithm of the updates. It is
    `distance(t) = sqrt(sum((w_t - w_0) ** 2))` over all trainable variables together, in float32 or
    wider, with `t` in optimizer updates: accumulated micro-steps and the steps that a
    `LossScaleOptimizer` skips do not count.

    It measures at each epoch's end and after the updates that `frequency` names, and adds
    `weight_distance` to `logs`: put it before `CSVLogger` and `TensorBoard`. The training is
    unchanged.

    w_0 is taken when the first epoch begins. Without `path` every `fit` starts afresh, while `t`
    goes on as the optimizer counts it. With `path`, w_0 and the history are kept in that file: a
    `fit` whose optimizer has made updates goes on from it, as under `BackupAndRestore`, and one
    that begins at update 0 overwrites it. Use one file a training, outside `backup_dir`, which
    Keras deletes in the end.

    Differs from the paper's code (bigBatch), which logs the first parameter tensor only, once an
    epoch, and from Cockpit's `Distance`, which gives the tensors one by one.

    Args:
        frequency: `"log"` for about 10 measurements a decade of updates (1, 2, ..., 10, 13, 16,
            ...), `"epoch"` for the epochs' ends only, or an integer n for updates n, 2n, ....
        per_layer: Also record every layer's own distance, all its trainable variables together. A
            layer is a variable's `path` without the last part.
        path: The `.npz` file that keeps w_0 and the history for resuming, or None.

    Attributes:
        history: `{"update": [...], "distance": [...]}` in plain ints and floats, with `per_layer`
            also `"layers": {layer path: [...]}`.

    Raises:
        ValueError: If an argument is not as above. In `fit`: if the model has no trainable
            variables or (on TensorFlow) is not built, or the file at `path` is of another model.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    distance = kbb.WeightDistance()
    x, y = np.random.rand(256, 8), np.random.rand(256)
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[distance])
    print(distance.history["update"][-1], distance.history["distance"][-1], distance.fit())
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 4, equation 4, figure 2
    """

    def __init__(
        self,
        frequency: Frequency = "log",
        per_layer: bool = False,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(per_layer, bool):
            raise ValueError(
                f"`per_layer` must be True or False. Received: per_layer={per_layer!r}."
            )
        self.frequency = cadence.checked_frequency(frequency)
        self.per_layer = per_layer
        self.path = store.checked_path(path)
        self.history: dict[str, Any] = {"update": [], "distance": []}
        self._meter: Any = None
        self._metered: list[int] = []
        self._variables: list[Any] = []
        self._reference: list[Tensor] = []
        self._next_batch = cadence.NEVER

    def fit(self, start: int = 10) -> DiffusionFit:
        """Fits the history's distances with `keras_bigbatch.diagnostics.fit_diffusion`.

        Args:
            start: Measurements at updates before this one are left out. The first updates follow
                no law; 2 is the least possible.

        Returns:
            The `DiffusionFit` of the log, power-of-log, square-root and power laws.

        Raises:
            ValueError: If fewer than 3 measurements are left, or a distance is zero or not finite.
        """
        kept = [i for i, update in enumerate(self.history["update"]) if update >= start]
        if len(kept) < 3:
            raise ValueError(
                f"A fit needs 3 measurements at update {start} or later. Received: {len(kept)} of "
                f"{len(self.history['update'])}. Train longer, or pass a smaller `start`."
            )
        return fit_diffusion(
            [self.history["update"][i] for i in kept], [self.history["distance"][i] for i in kept]
        )

    def plot(self, ax: Any = None) -> Any:
        """Draws the distance over the updates on a log axis, where the paper's law is a line.

        The thin line is `fit()`'s; it is left out where `fit()` is not possible.

        Args:
            ax: Matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.
        """
        try:
            fit = self.fit()
        except ValueError:
            fit = None  # Too short or diverged: the points speak for themselves.
        return draw_distance(self.history["update"], self.history["distance"], fit, ax)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._reference = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._reference:
            self._begin(self.model)
        self._await_measurement(0, self._meter.updates())

    # At the beginning of the next batch, when the updates before it are done: to override
    # `on_train_batch_end` would switch off Keras's asynchronous dispatch for all callbacks.
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch < self._next_batch:
            return
        updates = self._meter.updates()
        if updates >= self._next_update:
            self._measure(updates)
        self._await_measurement(batch, updates)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        distance = self._measure(self._meter.updates())
        if logs is not None:
            logs["weight_distance"] = distance
        if self.path:
            store.save(self.path, self._variables, self._reference, self.history)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._reference = []  # Frees the copy of the weights.

    def _begin(self, model: keras.Model) -> None:
        """Takes w_0 from the model, or with the history from the file of a run that goes on."""
        variables = list(model.trainable_variables)
        if not model.built:
            raise ValueError(
                f"`WeightDistance` needs the first weights of model '{model.name}', but on "
                "TensorFlow `fit` builds a model in its first step. Give the model an "
                "`Input`, or call it on a batch before `fit`."
            )
        if not variables:
            raise ValueError(
                f"`WeightDistance` found no trainable variables in model '{model.name}'. "
                "Unfreeze a layer."
            )
        metered = [id(part) for part in (model, *variables)]
        if metered != self._metered:
            # Kept from `fit` to `fit`: TensorFlow traces it, for the time of many measurements.
            self._meter = _backend.active().weights.WeightMeter(model, variables)
            self._metered, self._variables = metered, variables
        updates = self._meter.updates()
        paths = [variable.path for variable in self._variables]
        owners = [path.rpartition("/")[0] or path for path in paths]
        self._layers = list(dict.fromkeys(owners))
        self._layer_of_variable = [self._layers.index(owner) for owner in owners]
        values = [variable.value for variable in self._variables]
        layers = self._layers if self.per_layer else None
        if self.path and updates and os.path.exists(self.path):
            arrays, self.history = store.load(self.path, self._variables, layers, updates)
            self._reference = _backend.active().weights.restored(arrays, values)
            # A run that was stopped between this callback and the backup lacks its last epoch.
            if self.history["update"][-1:] != [updates]:
                self._measure(updates)
            return
        self._reference = _backend.active().weights.snapshot(values)
        self.history = {"update": [], "distance": []}
        if layers is not None:
            self.history["layers"] = {layer: [] for layer in layers}
        if self.path:
            if updates:
                warnings.warn(
                    f"The optimizer has made {updates} updates, but '{self.path}' does not exist: "
                    "the distances are from the present weights.",
                    stacklevel=2,
                )
            store.save(self.path, self._variables, self._reference, self.history)

    def _await_measurement(self, batch: int, updates: int) -> None:
        """Sets the next update to measure at, and the batch at whose beginning it will be there."""
        self._next_update = cadence.next_measurement(self.frequency, updates)
        # Exact: the micro-steps that the next update has had already are then those of the one
        # after the target. Skipped steps make it later, never earlier.
        self._next_batch = batch + (self._next_update - updates) * self._meter.steps_an_update

    def _measure(self, updates: int) -> float:
        """Appends to the history, or replaces its last entry if no update came in between."""
        squares = self._meter.squared_distances(self._reference)
        distance = math.sqrt(squares.sum())
        if updates == 0:
            return distance  # Nothing has moved, and the axis is ln t.
        columns = [(self.history["update"], updates), (self.history["distance"], distance)]
        if self.per_layer:
            by_layer = np.sqrt(np.bincount(self._layer_of_variable, weights=squares)).tolist()
            for layer, value in zip(self._layers, by_layer, strict=True):
                columns.append((self.history["layers"][layer], value))
        again = self.history["update"][-1:] == [updates]
        for column, value in columns:
            if again:
                column.pop()
            column.append(value)
        return distance
