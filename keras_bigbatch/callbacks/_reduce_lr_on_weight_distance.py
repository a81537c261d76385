"""Learning rate drops at given distances of the weights from their start."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bigbatch._arguments import positive_number
from keras_bigbatch._typing import Frequency
from keras_bigbatch.callbacks._weight_distance import WeightDistance


class ReduceLROnWeightDistance(WeightDistance):
    """Multiplies the learning rate by a factor when the weights have moved far enough.

    Experimental. Use it to keep a large batch at its high rate until the weights are as far from
    their initial values as in the small-batch run when its rate dropped. Train the small batch once
    with `WeightDistance`, read the distances at the epochs where its rate drops, and pass them here
    instead of a schedule. With distances `d_1 < d_2 < ...`, the rate after an epoch is

        rate = first_rate * factor ** (number of d_k that the distance has reached so far)

    It is also a `WeightDistance`, with the same measurements, records, logs, resuming and cost, so
    use only one of the two. The rate changes only between epochs. If a distance is never reached,
    the rate does not drop. So choose a number of epochs that you can live with.

    It adds `weight_distance` and the learning rate of the finished epoch (`learning_rate`) to
    `logs`. Put it before `CSVLogger` and `TensorBoard`. With `BackupAndRestore`, it needs a `path`;
    their order does not matter.

    The paper gives no rule. It only says that the distance "can be a good measure to decide upon
    when to decrease the learning rate". Distances depend on the network, its initialization and
    weight decay, so do not carry them over to another network.

    Args:
        distances: The distance, or increasing distances, at which the rate drops.
        factor: The factor on the rate at each drop, more than 0 and less than 1.
        frequency: As for `WeightDistance`: when to measure in addition to the ends of epochs.
        per_layer: As for `WeightDistance`.
        path: As for `WeightDistance`. With it, a resumed run knows which drops have happened.

    Raises:
        ValueError: If an argument is invalid. `fit` raises it if the optimizer has a schedule,
            whose rate cannot be set, or as for `WeightDistance`.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    reduce = kbb.callbacks.ReduceLROnWeightDistance([0.2, 0.3])
    x, y = np.random.rand(256, 8), np.ones(256)
    history = model.fit(x, y, batch_size=16, epochs=5, verbose=0, callbacks=[reduce])
    print(history.history["weight_distance"], history.history["learning_rate"])
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 5
    """

    def __init__(
        self,
        distances: float | Sequence[float],
        factor: float = 0.1,
        frequency: Frequency = "log",
        per_layer: bool = False,
        path: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(frequency, per_layer, path)
        given = np.atleast_1d(distances).tolist()
        hint = "It is a distance of the weights from their start, as `WeightDistance` records it."
        self.distances = [positive_number("distances", distance, hint) for distance in given]
        if not given or any(a >= b for a, b in itertools.pairwise(given)):
            raise ValueError(
                "`distances` must be one or more distances, each larger than the one before. "
                f"Received: distances={distances!r}."
            )
        self.factor = positive_number("factor", factor, "It multiplies the learning rate.")
        if self.factor >= 1:
            raise ValueError(f"`factor` must be less than 1. Received: factor={factor!r}.")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_begin(logs)
        optimizer = self.model.optimizer
        try:
            optimizer.learning_rate = float(optimizer.learning_rate)
        except TypeError as error:
            raise ValueError(
                "`ReduceLROnWeightDistance` sets the rate itself, but the optimizer has a "
                "`LearningRateSchedule`. Compile with a float as the learning rate."
            ) from error

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        optimizer = self.model.optimizer
        if logs is not None:
            logs["learning_rate"] = float(optimizer.learning_rate)
        super().on_epoch_end(epoch, logs)

    def _settle(self, updates: int, resumed: bool = False) -> None:
        optimizer, drops = self.model.optimizer, self._reached()
        rate = float(optimizer.learning_rate)
        earlier = [row for row in self._rates if row[0] < updates]
        # If a backup was made before this callback's turn, its rate is that of the epoch before.
        known = earlier if resumed else self._rates
        if known and (not resumed or rate == known[-1][1]) and drops > known[-1][2]:
            optimizer.learning_rate = rate * self.factor ** (drops - int(known[-1][2]))
            rate = float(optimizer.learning_rate)
        self._rates = [*earlier, [updates, rate, drops]]

    def _reached(self) -> int:
        """Returns how many of the distances the weights have reached so far."""
        farthest = max(self.history["distance"], default=0.0)
        return sum(distance <= farthest for distance in self.distances)
