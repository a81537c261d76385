"""The gradient noise scale in the course of a training whose stages it ends."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_bigbatch._backend import active
from keras_bigbatch._measuring.dataset_loss import DatasetLoss, loss_before_training
from keras_bigbatch._measuring.noise_scale import (
    mean_and_covariance,
    ratio_and_interval,
    two_batch_estimates,
)
from keras_bigbatch._measuring.sampled_batches import SampledBatches
from keras_bigbatch._updates import steps_an_update
from keras_bigbatch.training._batch_stage import BatchStage
from keras_bigbatch.training._noise_limit import NoiseLimit


class StageNoise(keras.callbacks.Callback):
    """Measures for the stages that have a `noise_limit`, and says when it is passed.

    It stands before the other callbacks: they see in the logs the stage's `batch_size` and
    `noise_scale`, the last that was measured, and none of them has yet put other weights into the
    model.

    Args:
        stages: All stages, of which some have a limit.
        data: What `fit` gets as `(x, y, sample_weight)` at a batch size, to be read apart from it.

    Attributes:
        passed: Whether the noise scale has passed the limit of the present stage.

    Raises:
        ValueError: If the data cannot be measured on.
    """

    def __init__(
        self, stages: Sequence[BatchStage], data: Callable[[int], tuple[Any, Any, Any]]
    ) -> None:
        super().__init__()
        if active().replicas.processes() > 1:
            raise ValueError(
                "A stage with a `noise_limit` is for one process. Received: "
                f"{active().replicas.processes()} processes, each of which would measure on its "
                "own data and end the stage at a different epoch. Fix the stages' epochs."
            )
        self.passed = False
        self._noise_scale = math.nan
        # Stages share a limit, and with it the functions that measure: compiled once.
        limits = {stage.noise_limit for stage in stages if stage.noise_limit is not None}
        self._batches = {limit: _batches(limit, data(limit.small_batch)) for limit in limits}
        self._losses: dict[NoiseLimit, DatasetLoss | None] = {}

    def watch(self, stage: BatchStage, first: int, end: int) -> None:
        """A stage begins with epoch `first`; `end` is the epoch after its last."""
        self._stage, self._first, self._end = stage, first, end
        self.passed = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        # Not before `fit`, which on torch draws random numbers for a model that has no loss yet.
        for limit, batches in self._batches.items():
            self._losses[limit] = loss_before_training(self.model, batches, "training")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        limit, next_epoch = self._stage.noise_limit, epoch + 1
        is_due = limit is not None and (next_epoch - self._first) % limit.every == 0
        if limit is not None and is_due and next_epoch < self._end:
            self._noise_scale = self._measured(limit)
            samples = self._stage.batch * steps_an_update(self.model.optimizer)
            self.passed = self._noise_scale > limit.multiple * samples
        if logs is not None:
            logs["batch_size"] = self._stage.batch
            logs["noise_scale"] = self._noise_scale

    def _measured(self, limit: NoiseLimit) -> float:
        """The noise scale, or the lower end of its interval where it is unknown."""
        # On JAX, to ask for the model is what gives the variables their values.
        model = self.model
        loss = self._losses[limit] or DatasetLoss(model, self._batches[limit], "training")
        self._losses[limit] = loss
        estimates = two_batch_estimates(loss, limit.large_batch // limit.small_batch)
        if len(estimates) < 2:
            raise _too_few(limit)
        mean, covariance = mean_and_covariance(estimates)
        value, (low, _) = ratio_and_interval(mean, covariance, len(estimates) - 1)
        return low if math.isnan(value) else value


def _batches(limit: NoiseLimit, data: tuple[Any, Any, Any]) -> SampledBatches:
    size = limit.small_batch
    count = limit.draws * (limit.large_batch // size)
    batches = SampledBatches(*data, size=size, count=count, seed=limit.seed)
    known = None if batches.is_arrays else batches.number
    if known is not None and known * size < 2 * limit.large_batch:
        raise _too_few(limit)
    return batches


def _too_few(limit: NoiseLimit) -> ValueError:
    return ValueError(
        "A data set in which the noise scale is measured must have two large batches or more. "
        f"Received: {limit} and a data set of less than {2 * limit.large_batch} samples. Pass a "
        "smaller `large_batch`, or arrays, from which samples are drawn with replacement."
    )
