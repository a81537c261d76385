"""The callbacks of a training in stages: they see one training, though each stage is a `fit`."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras

from keras_bigbatch import _private_api
from keras_bigbatch._typing import Verbose
from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._stage_noise import StageNoise

# What `fit` takes.
Callbacks: TypeAlias = keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None

Logs: TypeAlias = dict[str, float] | None


class StageCallbacks(keras.callbacks.CallbackList):
    """Begins and ends callbacks once for all stages; ends a stage on a plateau or by the noise.

    Args:
        callbacks: As in `fit`.
        model: The model that is trained.
        epochs: Epochs of all stages together.
        verbose: As in `fit`.
        noise: What measures the noise scale, if a stage has a limit to it.

    Attributes:
        next_epoch: The epoch after the last one that was trained.
        restored_epoch: The epoch at which a `BackupAndRestore` wants to resume, or None.
    """

    def __init__(
        self,
        callbacks: Callbacks,
        model: keras.Model,
        epochs: int,
        verbose: Verbose,
        noise: StageNoise | None,
    ) -> None:
        self._noise = noise
        self._stage_end = _StageEnd(noise)
        first = [] if noise is None else [noise]
        super().__init__(
            # Last, to see what the others put into the logs.
            [*first, *keras.tree.flatten(callbacks or []), self._stage_end],
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

    def enter(self, stage: BatchStage, epoch: int, end: int, steps: int | None, data: Any) -> None:
        """Prepares the `fit` of a stage.

        Args:
            stage: The stage.
            epoch: Its first epoch.
            end: The epoch after its last one.
            steps: The steps of one epoch, if they are known.
            data: The `x` of its `fit`.
        """
        self.next_epoch = epoch
        self._begin_epoch_of_data = getattr(data, "begin_epoch", None)
        self._stage_end.watch(stage)
        if self._noise is not None:
            self._noise.watch(stage, epoch, end)
        # The progress bar's length, and what a callback that sets the rate needs.
        self.set_params({**self.params, "steps": steps, "batch_size": stage.batch})

    @property
    def stopped(self) -> bool:
        """Whether a callback has ended the training."""
        return self.model.stop_training and not self._stage_end.reached

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


class _StageEnd(keras.callbacks.Callback):
    """Ends the `fit` of a stage where `EarlyStopping` would, or the noise scale is too large."""

    def __init__(self, noise: StageNoise | None) -> None:
        super().__init__()
        self._noise = noise

    def watch(self, stage: BatchStage) -> None:
        self.reached = False
        self._stopping: keras.callbacks.EarlyStopping | None = None
        if stage.patience is not None:
            self._stopping = keras.callbacks.EarlyStopping(stage.monitor, patience=stage.patience)
            self._stopping.set_model(self.model)
            self._stopping.on_train_begin()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.model.stop_training:
            return
        if self._stopping is not None:
            self._stopping.on_epoch_end(epoch, logs)
        if self._noise is not None and self._noise.passed:
            self.model.stop_training = True
        self.reached = self.model.stop_training
