"""Every batch of a data set in equal parts, one a device."""

import math

import keras
import numpy as np


class Shares:
    """A data set whose training batches several devices can share evenly.

    Everything but `training` is the data set's own. Of the last batch of an epoch up to
    `devices - 1` samples are left out, others in each epoch.

    Args:
        data: As `_data.Data` or a `Pipeline`.
        devices: How many share a batch.
        index: The device that this process has, from 0; None if it has all of them.
    """

    def __init__(self, data, devices, index=None):
        self._data, self._devices, self._index = data, devices, index

    def __getattr__(self, name):
        return getattr(self._data, name)

    def check(self, batch):
        """Raises a `ValueError` if the devices do not divide the batch."""
        if batch % self._devices:
            below = batch - batch % self._devices
            nearest = " or ".join(str(size) for size in (below, below + self._devices) if size)
            raise ValueError(
                f"a batch of {batch} samples cannot be shared by {self._devices} devices: "
                f"pass a multiple (nearest: {nearest}), or use fewer devices"
            )

    def training(self, batch, seed):
        """What `fit` takes: whole batches, or this process's part of each.

        The order follows from the seed and the epoch alone, and is the same in all processes.
        """
        self.check(batch)
        if hasattr(self._data, "x_train"):
            samples = (self._data.x_train, self._data.y_train)
            batches = ShuffledBatches(*samples, batch, seed, self._devices, self._index)
            return {"x": batches, "shuffle": False}
        if self._index is not None:
            return self._data.training(batch, seed, self._devices, self._index)
        kept = self._data.examples - self._data.examples % self._devices

        def even(x, y):
            import tensorflow as tf  # these batches are `tf.data`'s on every backend

            samples = tf.shape(y)[0]
            samples -= samples % self._devices
            return x[:samples], y[:samples]

        batches = self._data.training(batch, seed)["x"]
        return {"x": batches.map(even).take(math.ceil(kept / batch))}


class ShuffledBatches(keras.utils.PyDataset):
    """Batches of arrays, or one device's part of each, in a new order in every epoch.

    Args:
        x: Samples.
        y: Their classes.
        batch: Samples a batch, over all devices, which divide it.
        seed: Of the order.
        devices: How many share a batch.
        index: The one whose parts these are, from 0; None for whole batches.
    """

    def __init__(self, x, y, batch, seed, devices, index=None):
        super().__init__()
        self._x, self._y, self._batch = x, y, batch
        self._devices, self._index = devices, index
        self._examples = len(x) - len(x) % devices
        self._random = np.random.default_rng(seed)
        self.on_epoch_end()

    def on_epoch_end(self):
        """A new order; Keras calls it before the first epoch too."""
        self._order = self._random.permutation(len(self._x))[: self._examples]

    def __len__(self):
        return math.ceil(self._examples / self._batch)

    def __getitem__(self, number):
        chosen = self._order[number * self._batch : (number + 1) * self._batch]
        if self._index is not None:
            chosen = np.split(chosen, self._devices)[self._index]
        return self._x[chosen], self._y[chosen]
