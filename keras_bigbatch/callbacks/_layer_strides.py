"""How far each layer's weights and loss move in an update, and which layer is stuck."""

# ruff: noqa: ARG002 (Keras calls the hooks with arguments that not all of them need)

from typing import Any

import keras
import numpy as np

from keras_bigbatch._arguments import one_of, positive_integer
from keras_bigbatch._measuring import cadence
from keras_bigbatch._measuring.axes import axes_or_new
from keras_bigbatch._measuring.dataset_loss import MODES, DatasetLoss, loss_before_training
from keras_bigbatch._measuring.sampled_batches import SampledBatches
from keras_bigbatch._typing import Frequency, Mode, Vector
from keras_bigbatch._updates import steps_an_update, updates_made
from keras_bigbatch.callbacks._layer_numbers import GradientNumbers, LayerParts

COLUMNS = (
    "gradient",
    "squared_gradient",
    "stride",
    "relative_stride",
    "loss_stride",
    "radius",
    "signal",
)

# A layer is stuck if its relative stride is less than this share of the median layer's.
_STUCK = 0.1


class LayerStrides(keras.callbacks.Callback):
    """Measures each layer's gradient, step, loss decrease and curvature radius during training.

    Use it to see which layers hardly move at a large batch. `print(strides.table())` marks the
    layers whose relative stride is less than a tenth of the median layer's. Layer-wise optimizers
    (`LARS`, `MCLR`) are meant for such layers. Let g be a batch's gradient at the weights w before
    an update, and D the optimizer's step. Means are taken over the layer's weights and over
    batches:

    - `gradient` and `squared_gradient`: means of `abs(g)` and of `g ** 2`.
    - `stride`: mean of `abs(D)`, per update. `relative_stride`: `stride` / mean of `abs(w)`.
    - `loss_stride`: `-sum(g * D)` with the mean g. To first order, D lowers the loss by this much.
    - `radius`: median of `abs(w / g)`, the paper's radius of curvature.
    - `signal`: norm of the expected gradient divided by the norm of a batch's deviation from it.

    It measures in the first update of each epoch and in the updates that `frequency` selects. It
    adds the layers' median `relative_stride` and their `least_relative_stride` to `logs`. Training
    is unchanged. Unlike in the paper, strides are not divided by the learning rate, and the
    gradient in `loss_stride` comes from different data than the step.

    Args:
        x: As in `fit`, all or part of it. A data set continues where the last measurement stopped.
        y: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch. Use the batch size that you train with.
        frequency: Which other updates to measure: `"log"` (about 10 per decade), `"epoch"` (none),
            or an int n (updates n, 2n, ...).
        batches: Batches per measurement, which computes their gradients. `signal` needs 2 or more.
        sample_weight: As in `fit`, if `x` is arrays.
        mode: `"training"`: norm layers use each batch's statistics. `"inference"`: the stored ones.
        seed: Seed for drawing samples from arrays.

    Attributes:
        history: `{"update": [...], "layers": {layer path: {column: [...]}}}`, with the columns
            above.

    Raises:
        ValueError: If an argument is invalid. `fit` raises it if the model has no trainable
            variables or is not built yet, or if a data set has less than one batch.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb
    x, y = np.random.rand(512, 8), np.random.rand(512)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    strides = kbb.callbacks.LayerStrides(x, y, batch_size=64)
    model.fit(x, y, batch_size=64, epochs=2, verbose=0, callbacks=[strides])
    print(strides.table())
    ```

    References:
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", equations 1 to 8, 17 and 25 to 28, figures 2 to 7
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        frequency: Frequency = "epoch",
        *,
        batches: int = 8,
        sample_weight: Any = None,
        mode: Mode = "training",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.batch_size = positive_integer("batch_size", batch_size, "It counts samples.")
        self.frequency = cadence.checked_frequency(frequency)
        self.batches = positive_integer("batches", batches, "It counts batches per measurement.")
        self.mode = one_of("mode", mode, MODES)
        self._sampled = SampledBatches(
            x, y, sample_weight, size=self.batch_size, count=self.batches, seed=seed
        )
        self._next_batch = cadence.NEVER
        self._begin()

    def __getstate__(self) -> dict[str, Any]:
        # Without what the next `fit` creates: compiled functions of the model cannot be pickled.
        kept = {name: value for name, value in self.__dict__.items() if name != "_parts"}
        return {**kept, "_model": None, "_loss": None, "_before": None}

    def table(self) -> str:
        """Returns the last measurement, with one row per layer and a mark for each stuck layer."""
        if not self.history["update"]:
            return "No update has been measured yet."
        columns = [column for column in COLUMNS if column != "squared_gradient"]
        layers = self.history["layers"]
        width = max(len("layer"), *map(len, layers))
        head = "".join(f"{column:>17}" for column in columns)
        lines = [f"{'layer':<{width}}{head}"]
        stuck = self.stuck()
        for name, values in layers.items():
            row = "".join(f"{values[column][-1]:>17.3g}" for column in columns)
            lines.append(f"{name:<{width}}{row}{'  stuck' if name in stuck else ''}")
        return "\n".join([*lines, f"update {self.history['update'][-1]}"])

    def stuck(self) -> list[str]:
        """Returns the paths of the layers that were stuck in the last measured update.

        Their relative stride was less than a tenth of the median layer's.
        """
        layers = self.history["layers"]
        last = {name: values["relative_stride"][-1] for name, values in layers.items()}
        bound = _STUCK * np.median(list(last.values())) if last else 0.0
        return [name for name, stride in last.items() if stride < bound]

    def plot(self, column: str = "relative_stride", ax: Any = None) -> Any:
        """Plots one column over the updates, with one line per layer, on log axes.

        Args:
            column: `"gradient"`, `"stride"` or any other column.
            ax: Matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.
        """
        column = one_of("column", column, COLUMNS)
        ax = axes_or_new(ax)
        for name, values in self.history["layers"].items():
            ax.plot(self.history["update"], values[column], "o-", markersize=3, label=name)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("optimizer updates")
        ax.set_ylabel(column.replace("_", " "))
        ax.legend()
        return ax

    def _begin(self) -> None:
        self.history: dict[str, Any] = {"update": [], "layers": {}}
        self._sampled.restart()
        # Created in each `fit`: the model may have been compiled with another loss.
        self._loss: DatasetLoss | None = None
        # What was measured before an update: the number of updates, the weights, the gradients.
        self._before: tuple[int, Vector, GradientNumbers] | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._begin()
        self._loss = loss_before_training(self.model, self._sampled, self.mode)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._logged = {"relative_stride": np.nan, "least_relative_stride": np.nan}
        model = self.model
        updates = updates_made(model.optimizer)
        self._take_gradients(model, updates)
        self._next_update = cadence.next_measurement(self.frequency, updates + 1)
        self._next_batch = steps_an_update(model.optimizer)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if batch >= self._next_batch:
            self._measure(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._take_step(self.model)
        # What other callbacks do to the weights between epochs is not a stride.
        self._before = None
        if logs is not None:
            logs.update(self._logged)

    def _measure(self, batch: int) -> None:
        """Records a step that is done, and takes the gradients if the next update is measured."""
        # Read every time: on JAX that is what gives the variables their values.
        model = self.model
        updates = self._take_step(model)
        if self._before is None and updates + 1 >= self._next_update:
            self._take_gradients(model, updates)
            self._next_update = cadence.next_measurement(self.frequency, updates + 1)
        # Under accumulation: exact, or later where steps are skipped, but never earlier.
        missing = 1 if self._before is not None else self._next_update - 1 - updates
        self._next_batch = batch + missing * steps_an_update(model.optimizer)

    def _take_gradients(self, model: keras.Model, updates: int) -> None:
        if self._loss is None:
            self._loss = DatasetLoss(model, self._sampled, self.mode)
        loss = self._loss
        self._parts = LayerParts(loss.variables)
        weights = loss.weights
        gradients = (gradient for _, _, gradient in loss.batch_gradients())
        self._before = (updates, weights, GradientNumbers(self._parts, weights, gradients))

    def _take_step(self, model: keras.Model) -> int:
        """Records the step if an update followed the gradients. Returns the number of updates."""
        updates = updates_made(model.optimizer)
        if self._before is None or self._loss is None or updates == self._before[0]:
            return updates
        before, weights, numbers = self._before
        self._before = None
        step = (self._loss.weights - weights) / (updates - before)
        strides, sizes, losses = [], [], []
        for s, w, g in self._parts.of(step, weights, numbers.mean):
            strides.append(np.abs(s).mean(dtype=np.float64))
            sizes.append(np.abs(w).mean(dtype=np.float64))
            losses.append(-np.sum(g * s, dtype=np.float64))
        with np.errstate(divide="ignore", invalid="ignore"):  # Weights may all be zero.
            relative = np.array(strides) / np.array(sizes)
        self._logged = {
            "relative_stride": float(np.median(relative)),
            "least_relative_stride": float(np.min(relative)),
        }
        measured = {
            "gradient": numbers.gradient,
            "squared_gradient": numbers.squared_gradient,
            "stride": strides,
            "relative_stride": relative,
            "loss_stride": losses,
            "radius": numbers.radius,
            "signal": numbers.signal,
        }
        self.history["update"].append(updates)
        for number, name in enumerate(self._parts.names):
            layer = self.history["layers"].setdefault(name, {column: [] for column in COLUMNS})
            for column in COLUMNS:
                layer[column].append(float(measured[column][number]))
        return updates
