"""The callbacks of a training in stages: they see one training, though each stage is a `fit`."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from keras_bigbatch import _private_api
from keras_bigbatch._typing import Verbose
from keras_bigbatch.training._batch_stage import BatchStage

# What `fit` takes.
Callbacks: TypeAlias = keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None

Logs: TypeAlias = dict[str, float] | None


class StageCallbacks(keras.callbacks.CallbackList):
    """Begins and ends callbacks once for all stages, and ends a stage on a plateau.

    Args:
        callbacks: As in `fit`.
        model: The model that is trained.
        epochs: Epochs of all stages together.
        verbose: As in `fit`.

    Attributes:
        next_epoch: The epoch after the last one that was trained.
        restored_epoch: The epoch at which a `BackupAndRestore` wants to resume, or None.
    """

    def __init__(
        self, callbacks: Callbacks, model: keras.Model, epochs: int, verbose: Verbose
    ) -> None:
        self._plateau = _Plateau()
        super().__init__(
            # Last, to see what the others put into the logs.
            [*keras.tree.flatten(callbacks or []), self._plateau],
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=None,
        )
        self.next_epoch = 0
        self.restored_epoch: int | None = None
        self._begun = False
        self._logs: Logs = None
        self._begin_epoch_of_data: Callable[[int], None] | None = None

    def enter(self, stage: BatchStage, epoch: int, steps: int | None, data: Any) -> None:
        """Prepares the `fit` of a stage, whose first epoch is `epoch`."""
        self.next_epoch = epoch
        self._begin_epoch_of_data = getattr(data, "begin_epoch", None)
        self._plateau.watch(stage)
        # The progress bar's length.
        self.set_params({**self.params, "steps": steps})

    @property
    def stopped(self) -> bool:
        """Whether a callback has ended the training."""
        return self.model.stop_training and not self._plateau.reached

    def on_train_begin(self, logs: Logs = None) -> None:
        if self._begun:
            return
        self._begun = True
        # `BackupAndRestore` has no other way to say where `fit` should resume.
        _private_api.set_restored_epoch(self.model, None)
        super().on_train_begin(logs)
        self.restored_epoch = _private_api.restored_epoch(self.model)
        if self.restored_epoch is not None:
            # It may be in another stage, so this `fit` must do nothing.
            _private_api.set_restored_epoch(self.model, sys.maxsize)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self._begin_epoch_of_data is not None:
            self._begin_epoch_of_data(epoch)
        super().on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_end(epoch, logs)
        self.next_epoch, self._logs = epoch + 1, logs

    def on_train_end(self, logs: Logs = None) -> None:
        """Does nothing: the end of a stage is not the end of the training."""

    def finish(self) -> None:
        """Ends the training."""
        super().on_train_end(self._logs)


class _Plateau(keras.callbacks.Callback):
    """Ends the `fit` of a stage where `EarlyStopping` would."""

    def watch(self, stage: BatchStage) -> None:
        self.reached = False
        self._stopping: keras.callbacks.EarlyStopping | None = None
        if stage.patience is not None:
            self._stopping = keras.callbacks.EarlyStopping(stage.monitor, patience=stage.patience)
            self._stopping.set_model(self.model)
            self._stopping.on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._stopping is not None and not self.model.stop_training:
            self._stopping.on_epoch_end(epoch, logs)
            self.reached = self.model.stop_training
