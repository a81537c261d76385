"""The callback that makes sure that `fit` runs the plan's training."""

# ruff: noqa: ARG002 (Keras calls the hooks with arguments that not all of them need)

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras

from keras_bigbatch._backend import active
from keras_bigbatch._private_api import learning_rate_source, step_counter
from keras_bigbatch._rates.learning_rate_scaler import LearningRateScaler
from keras_bigbatch._updates import inner_optimizer, steps_an_update
from keras_bigbatch._user_warnings import warn_user
from keras_bigbatch._virtual_batch import check_batch
from keras_bigbatch.schedules._fit_arguments import cure
from keras_bigbatch.schedules._other_optimizer import differences, only_rate

if TYPE_CHECKING:
    from keras_bigbatch.schedules._plan import Plan


class PlanCheck(keras.callbacks.Callback):
    """Compares steps, epochs, accumulation, replicas and rate with a plan; raises if they differ.

    Args:
        plan: The plan.
        check_epochs: Whether to compare the epochs.
        check_rate: Whether the rate should be the plan's.
    """

    # Keras need not wait for each step on this callback's behalf.
    async_safe = True

    def __init__(self, plan: Plan, check_epochs: bool, check_rate: bool = True) -> None:
        super().__init__()
        self._plan = plan
        self._check_epochs = check_epochs
        self._rate_is_checked = check_rate
        self._first_epoch = True
        self._ended: list[int] = []
        self._steps_before = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        plan, steps = self._plan, self.params.get("steps")
        self._first_epoch = True
        if steps not in (None, plan.steps_per_epoch) and not _cut("max_steps_per_epoch"):
            raise ValueError(
                f"`fit` must make the plan's steps in an epoch. Received: {steps} for a plan of "
                f"{plan.steps_per_epoch}. {cure(plan, steps)}"
            )
        epochs = self.params.get("epochs")
        if self._check_epochs and epochs != plan.epochs and not _cut("max_epochs"):
            raise ValueError(
                f"`fit` must train for the plan's epochs. Received: epochs={epochs} for a plan of "
                f"{plan.epochs}. Pass `epochs=plan.epochs`, or `**plan.fit_arguments(x)`; for one "
                "training run in several calls of `fit` use `plan.callback(check_epochs=False)`."
            )
        accumulated = steps_an_update(self.model.optimizer)
        if accumulated != plan.accumulation_steps:
            raise ValueError(
                "The optimizer must accumulate as the plan does. Received: "
                f"gradient_accumulation_steps={accumulated} for a plan of {plan.accumulation_steps}"
                f". Pass `gradient_accumulation_steps={plan.accumulation_steps}` to the optimizer, "
                f"or create the plan with `regime.at(..., accumulation_steps={accumulated})`."
            )
        self._check_rate()
        self._check_optimizer()
        replicas = active().replicas.parts_of_a_batch(self.model)
        if plan.micro_batch % replicas:
            nearest = -(-plan.micro_batch // replicas) * replicas
            raise ValueError(
                "Replicas must get equal parts of a batch, or samples count differently. "
                f"Received: {replicas} replicas, batches of {plan.micro_batch} samples. Create the "
                f"plan for a batch that is divisible by {replicas}, such as {nearest}."
            )
        check_batch(self.model, plan.micro_batch)

    def _check_rate(self) -> None:
        """Raises if the rate is scaled for other batches, and warns if it is a number.

        A schedule or a function may be intended.
        """
        optimizer = inner_optimizer(self.model.optimizer)
        # Each part of a `MultiOptimizer` has its own.
        if optimizer is None or hasattr(optimizer, "optimizers") or not self._rate_is_checked:
            return
        rate, planned_rate = learning_rate_source(optimizer), self._plan.learning_rate
        if isinstance(rate, keras.Variable) and self._plan.regime.optimizer is None:
            number = float(rate + 0.0)
            if not math.isclose(number, only_rate(planned_rate), rel_tol=1e-6):
                warn_user(
                    f"The optimizer's learning rate is the number {number:.4g}, not the plan's. "
                    "Compile with `plan.learning_rate`."
                )
        if isinstance(rate, LearningRateScaler):
            received, planned = _scaling(rate), _scaling(planned_rate)
            if received != planned:
                raise ValueError(
                    "The optimizer's rate must be scaled as the plan's. Received: a rate scaled "
                    f"{received} for a plan {planned}. Pass this plan's `plan.learning_rate` to "
                    "the optimizer, or compile with this plan's `plan.optimizer()`."
                )

    def _check_optimizer(self) -> None:
        if self._plan.regime.optimizer is None:
            return
        optimizer = self.model.optimizer
        found = differences(self._plan, optimizer, self._rate_is_checked)
        if found:
            warn_user(
                f"The compiled optimizer is not the plan's: {'; '.join(found)}. Compile with "
                "`plan.optimizer()`."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._first_epoch:
            return
        self._ended = []
        if self.model.steps_per_execution > 1:
            self._steps_before = self._steps_counted()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # Keras calls this from several threads, in any order.
        if self._first_epoch:
            self._ended.append(batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self._first_epoch or self.model.stop_training:
            return
        self._first_epoch = False
        made, planned = max(self._ended, default=-1) + 1, self._plan.steps_per_epoch
        remedy, together = cure(self._plan, made), self.model.steps_per_execution
        if together > 1:
            # The last call makes as many steps as there are data for. A loss-scaling optimizer
            # leaves some out of the count.
            made = max(self._steps_counted() - self._steps_before, min(made, planned))
            if planned % together:
                remedy = f"Keras makes {together} steps at a time: choose a divisor of {planned}."
        if made != planned and not _cut("max_steps_per_epoch"):
            warn_user(
                f"`fit` made {made} steps in its first epoch, but the plan has {planned}: "
                f"rates do not drop where they should. {remedy}"
            )

    def _steps_counted(self) -> int:
        return int(keras.ops.convert_to_numpy(step_counter(inner_optimizer(self.model.optimizer))))


def _scaling(rate: LearningRateScaler) -> str:
    batches = f"from a batch of {rate.small_batch} to {rate.large_batch}"
    return f"{batches} with accumulation_steps={rate.accumulation_steps}"


def _cut(limit: str) -> bool:
    """Whether Keras was asked to cut every `fit` short, as by `KERAS_MAX_EPOCHS`."""
    asked = getattr(keras.config, limit, None)
    return asked is not None and asked() is not None
