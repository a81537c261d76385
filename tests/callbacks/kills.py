"""Trainings that are killed at any moment and resumed from their last backup."""

import builtins
import os
from typing import NamedTuple

import keras
import numpy as np

from keras_bigbatch import _backend

EPOCHS, STEPS = 3, 3


class Killed(BaseException):
    """No `except Exception` and no clean-up may see it, as none sees a SIGKILL."""


class Moments:
    """Counts what a training does one after the other, and kills it before the one numbered so.

    Of what touches a disk: syncing, renaming and removing files, and appending to one. From the
    kill on nothing touches the disk any more.
    """

    def __init__(self, monkeypatch):
        self.passed, self.last = 0, None
        monkeypatch.setattr(os, "fsync", self._counted(lambda descriptor: None))
        for name in ("replace", "remove"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        real = builtins.open
        counted = self._counted(real)

        def opened(file, mode="r", *args, **kwargs):
            return (counted if "a" in mode else real)(file, mode, *args, **kwargs)

        monkeypatch.setattr(builtins, "open", opened)

    def __call__(self):
        if self.last is not None and self.passed >= self.last:
            raise Killed
        self.passed += 1

    def _counted(self, function):
        def count_and_call(*args, **kwargs):
            self()
            return function(*args, **kwargs)

        return count_and_call


class Backup(NamedTuple):
    """What Keras's `BackupAndRestore` keeps."""

    epoch: int
    updates: int
    rate: float


START = Backup(0, 0, 0.5)


class Walk:
    """`fit` without its steps: a callback's hooks, on weights that are known at each update.

    Args:
        monkeypatch: Pytest's; TensorFlow compiles a measurement once only.
        backup_first: Whether the backup stands before the callback in the list.
        every: Batches from backup to backup, None for the epochs' ends.
    """

    def __init__(self, monkeypatch, backup_first, every=None):
        self.model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(2, name="b")]
        )
        self.model.compile(keras.optimizers.SGD(START.rate), "mse")
        self.model.optimizer.build(self.model.trainable_variables)
        self.first = [np.array(weight) for weight in self.model.get_weights()]
        self.backup_first, self.every = backup_first, every
        weights = _backend.active().weights
        meter = weights.WeightMeter(self.model, list(self.model.trainable_variables))
        monkeypatch.setattr(weights, "WeightMeter", lambda model, variables: meter)

    def run(self, callback, backup=START, moment=lambda: None):
        """Trains from `backup` to the end; `self.backup` is the last one, whatever happens."""
        self.backup, optimizer = backup, self.model.optimizer
        optimizer.learning_rate = START.rate
        callback.set_model(self.model)
        callback.on_train_begin()
        self._set(backup.updates)
        optimizer.learning_rate = backup.rate
        updates = backup.updates
        for epoch in range(backup.epoch, EPOCHS):
            callback.on_epoch_begin(epoch)
            for batch in range(STEPS):
                moment()
                callback.on_train_batch_begin(batch)
                moment()
                updates += 1
                self._set(updates)
                if self.every and updates % self.every == 0:
                    self._keep(epoch, updates)
            moment()
            turns = [lambda: callback.on_epoch_end(epoch, {})]  # noqa: B023
            if not self.every:
                turns.append(lambda: self._keep(epoch + 1, updates))  # noqa: B023
            for turn in reversed(turns) if self.backup_first else turns:
                turn()
                moment()
        callback.on_train_end()

    def distance(self, updates):
        """Of the weights from the first ones after so many updates, in closed form."""
        return 0.1 * updates * np.sqrt(sum(weight.size for weight in self.first))

    def _set(self, updates):
        self.model.optimizer.iterations.assign(updates)
        self.model.set_weights([weight + np.float32(0.1 * updates) for weight in self.first])

    def _keep(self, epoch, updates):
        self.backup = Backup(epoch, updates, float(self.model.optimizer.learning_rate))
