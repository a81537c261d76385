"""How far the weights are from where they started."""

# ruff: noqa: ARG002 (Keras calls the hooks with arguments that not all of them need)

import math
import os
from typing import Any

import keras
import numpy as np

from keras_bigbatch import _backend, _parameters
from keras_bigbatch._arguments import boolean
from keras_bigbatch._measuring import cadence
from keras_bigbatch._typing import Frequency, Tensor
from keras_bigbatch._updates import updates_made
from keras_bigbatch.callbacks._distance_file import DistanceFile, checked_path
from keras_bigbatch.callbacks._distance_plot import draw_distance
from keras_bigbatch.callbacks._distance_record import Record
from keras_bigbatch.callbacks._layer_numbers import layer_paths
from keras_bigbatch.diagnostics import DiffusionFit, fit_diffusion


class WeightDistance(keras.callbacks.Callback):
    """Measures how far the weights are from their initial values, over optimizer updates.

    Use it to see whether a large-batch run gets as far from its start as the small-batch run that
    it replaces, and whether the distance grows with the logarithm of the updates. The distance is
    `distance(t) = sqrt(sum((w_t - w_0) ** 2))` over all trainable variables together, in float32 or
    wider. `t` counts optimizer updates, without accumulated micro-steps and steps that a
    `LossScaleOptimizer` skips.

    It measures at the end of each epoch and after the updates that `frequency` selects. It adds
    `weight_distance` to `logs`: put it before `CSVLogger` and `TensorBoard`. Training is unchanged.

    w_0 is recorded when the first epoch begins. Without `path`, every `fit` starts over, but `t`
    continues with the optimizer's count. With `path`, the history is saved there and w_0 next to
    it. If the optimizer has already made updates, `fit` resumes from these files, as with
    `BackupAndRestore`. At update 0, it overwrites them. Use one path per run, not in `backup_dir`:
    Keras deletes it.

    The paper's code (bigBatch) only logs the first parameter tensor, once per epoch. Cockpit's
    `Distance` gives one value per tensor.

    Args:
        frequency: `"log"` for about 10 measurements per decade of updates from w_0 (1, 2, ..., 10,
            13, ...), `"epoch"` for only the ends of epochs, or an int n for updates n, 2n, ....
        per_layer: Whether to also record each layer's distance, over all its trainable variables. A
            layer is identified by its variables' `path` without the last part.
        path: The `.npz` file of the history, for resuming, or None. `x.npz` keeps w_0 in
            `x.w_0.npz`.

    Attributes:
        history: `{"update": [...], "distance": [...]}` in plain ints and floats. With `per_layer`,
            also `"layers": {layer path: [...]}`.
        origin: The `t` of w_0, which is 0 in a new run.

    Raises:
        ValueError: If an argument is invalid. `fit` raises it if the model has no trainable
            variables or (on TensorFlow) is not built, or `path` has another model's files.
        OSError: If `fit` cannot read and write the files when it begins. After that, it only warns.

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
        self.frequency = cadence.checked_frequency(frequency)
        self.per_layer = boolean("per_layer", per_layer)
        self.path = checked_path(path)
        self.history: dict[str, Any] = {"update": [], "distance": []}
        self.origin = 0
        self._meter: Any = None
        self._metered: list[int] = []
        self._variables: list[Any] = []
        self._reference: list[Tensor] = []
        self._file: DistanceFile | None = None
        self._rates: list[list[float]] = []
        self._next_batch = cadence.NEVER

    def __getstate__(self) -> dict[str, Any]:
        # Without what the next `fit` provides: the weights, and on TensorFlow a function that
        # cannot be pickled.
        nothing: dict[str, Any] = {"_model": None, "_meter": None, "_metered": [], "_variables": []}
        return {**self.__dict__, **nothing, "_reference": [], "_file": None}

    def fit(self, start: int = 10) -> DiffusionFit:
        """Fits the recorded distances with `keras_bigbatch.diagnostics.fit_diffusion`.

        Args:
            start: Leave out measurements made before this many updates after w_0, at least 2. The
                first updates follow none of the laws.

        Returns:
            The `DiffusionFit` of the log, power-of-log, square-root and power laws.

        Raises:
            ValueError: If fewer than 3 measurements are left, or a distance is zero or not finite.
        """
        updates = self._updates_from_origin()
        kept = [i for i, update in enumerate(updates) if update >= start]
        if len(kept) < 3:
            raise ValueError(
                f"A fit needs 3 measurements at update {start} or later. Received: {len(kept)} of "
                f"{len(updates)}. Train longer, or pass a smaller `start`."
            )
        distance = self.history["distance"]
        return fit_diffusion([updates[i] for i in kept], [distance[i] for i in kept])

    def plot(self, ax: Any = None) -> Any:
        """Plots the distance over the updates on a log axis, where the paper's law is a line.

        The thin line is the result of `fit()`. It is left out if `fit()` is not possible.

        Args:
            ax: Matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.
        """
        try:
            fit = self.fit()
        except ValueError:
            fit = None  # Too short or diverged: the points speak for themselves.
        return draw_distance(self._updates_from_origin(), self.history["distance"], fit, ax)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._reference = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._reference:
            self._begin(self.model)
        self._await_measurement(0, self._meter.updates())

    # At the beginning of the next batch, when the updates before it are done: overriding
    # `on_train_batch_end` would switch off Keras's asynchronous dispatch for all callbacks.
    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch < self._next_batch:
            return
        updates = self._meter.updates()
        if updates >= self._next_update:
            self._measure(updates)
            if self._file:
                # At once: a backup may follow at the end of any batch, before that of this epoch.
                self._file.append(self._record())
        self._await_measurement(batch, updates)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        updates = self._meter.updates()
        distance = self._measure(updates)
        if logs is not None:
            logs["weight_distance"] = distance
        self._settle(updates)
        if self._file:
            self._file.save(self._record())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self.path and not self._reference and updates_made(self.model.optimizer):
            self._begin(self.model)  # Resumed where no epoch was left to train.
        self._reference = []  # Frees the copy of the weights.

    def _begin(self, model: keras.Model) -> None:
        """Takes w_0 from the model or, with the history, from the files of a resumed run."""
        if not model.built:
            raise ValueError(
                f"`WeightDistance` needs the first weights of model '{model.name}', but on "
                "TensorFlow `fit` builds a model in its first step. Give the model an "
                "`Input`, or call it on a batch before `fit`."
            )
        variables = _parameters.trainable_variables(model)
        metered = [id(part) for part in (model, *variables)]
        if metered != self._metered:
            # Kept from one `fit` to the next: tracing it in TensorFlow takes as long as many
            # measurements.
            self._meter = _backend.active().weights.WeightMeter(model, variables)
            self._metered, self._variables = metered, variables
        updates = self._meter.updates()
        owners = layer_paths(self._variables)
        self._layers = list(dict.fromkeys(owners))
        self._layer_of_variable = [self._layers.index(owner) for owner in owners]
        values = [variable.value for variable in self._variables]
        layers = self._layers if self.per_layer else None
        file = self._file = DistanceFile(self.path) if self.path else None
        if file is None:
            self._start_afresh(values, layers, updates)
            return
        with file.starting():
            found = file.load(self._variables, layers, updates) if updates else None
            if found is None:
                self._start_afresh(values, layers, updates)
                file.begin(self._variables, self._reference, self._record())
                return
            arrays, record = found
            self._reference = _backend.active().weights.restored(arrays, values)
            self.history, self.origin, self._rates = record.history, record.origin, record.rates
            # Missing if the run was killed after the backup and before this callback's turn.
            if self.history["update"][-1:] != [updates]:
                self._measure(updates)
            self._settle(updates, resumed=True)
            file.go_on(self._variables, arrays, self._record())

    def _start_afresh(self, values: list[Tensor], layers: list[str] | None, updates: int) -> None:
        self._reference = _backend.active().weights.snapshot(values)
        self.history, self.origin, self._rates = {"update": [], "distance": []}, updates, []
        if layers is not None:
            self.history["layers"] = {layer: [] for layer in layers}
        self._settle(updates)

    def _settle(self, updates: int, resumed: bool = False) -> None:
        """For subclasses: called when training begins and epochs end, before files are written."""

    def _record(self) -> Record:
        return Record(self.history, self.origin, self._rates)

    def _updates_from_origin(self) -> list[int]:
        return [update - self.origin for update in self.history["update"]]

    def _await_measurement(self, batch: int, updates: int) -> None:
        """Sets the next update to measure at, and the batch before which it will be done."""
        self._next_update = cadence.next_measurement(self.frequency, updates, self.origin)
        # Exact: micro-steps that the next update has already had are then those of the one after
        # the target. Skipped steps make it later, never earlier.
        self._next_batch = batch + (self._next_update - updates) * self._meter.steps_an_update

    def _measure(self, updates: int) -> float:
        """Appends to the history, or replaces its last entry if no update came in between."""
        squares = self._meter.squared_distances(self._reference)
        distance = math.sqrt(squares.sum())
        if updates == self.origin:
            return distance  # Nothing has moved, and the axis is logarithmic.
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
