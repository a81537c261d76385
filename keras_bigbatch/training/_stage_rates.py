"""Sets the learning rates of the stages in the optimizer."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_bigbatch import _private_api
from keras_bigbatch._rates.learning_rates import (
    LearningRate,
    LearningRateSchedule,
    deserialize_learning_rate,
    rate_at,
    serialize_learning_rate,
)
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch._updates import inner_optimizer
from keras_bigbatch.training._batch_stage import BatchStage


@serializable
class StageSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A float or a schedule that starts at step `first` of the optimizer."""

    def __init__(self, learning_rate: LearningRate, first: int = 0) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.first = first

    def __call__(self, step: Tensor) -> Tensor:
        return rate_at(self.learning_rate, ops.convert_to_tensor(step) - self.first)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": serialize_learning_rate(self.learning_rate),
            "first": self.first,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        learning_rate = deserialize_learning_rate(config["learning_rate"])
        return cls(**{**config, "learning_rate": learning_rate})


class StageRates:
    """Sets the rate of each stage.

    If all rates are floats, they go into the optimizer's own variable, where callbacks can change
    them. With a schedule among them, or in the optimizer, all of them become schedules before the
    training begins, so that the optimizer has the same variables in every stage and in every run.

    Args:
        model: The compiled model.
        stages: All stages.
        steps: Returns the steps per epoch of a stage, by its index; None if unknown.
    """

    def __init__(
        self,
        model: keras.Model,
        stages: Sequence[BatchStage],
        steps: Callable[[int], int | None],
    ) -> None:
        self._model = model
        self._rates = [stage.learning_rate for stage in stages]
        self._epochs = [stage.epochs for stage in stages]
        self._steps = steps
        self._counter: Any = None
        if all(rate is None for rate in self._rates):
            return
        innermost = inner_optimizer(model.optimizer)
        if hasattr(innermost, "optimizers"):
            rate = next(rate for rate in self._rates if rate is not None)
            raise ValueError(
                "A stage cannot set the learning rate of a `MultiOptimizer`, which has several. "
                f"Received: a stage with learning_rate={rate!r}. Leave it out, and give each part "
                "its own schedule."
            )
        self._compiled = _private_api.learning_rate_source(innermost)
        if any(isinstance(rate, LearningRateSchedule) for rate in [*self._rates, self._compiled]):
            # The counter that a schedule is called with: micro-steps under accumulation.
            self._counter = _private_api.step_counter(innermost)
            if not isinstance(self._compiled, LearningRateSchedule):
                self._compiled = StageSchedule(float(model.optimizer.learning_rate))

    def start(self, index: int, done: int, restored: bool) -> None:
        """Starts the training in stage `index`, with `done` epochs of it already trained.

        `restored` says that a callback has restored the optimizer, including a float rate.
        """
        given = [i for i in range(index + 1) if self._rates[i] is not None]
        source = given[-1] if given else None
        if self._counter is not None:
            self._use(self._compiled if source is None else self._schedule(source, index, done))
        elif source is not None and not (restored and (done or source < index)):
            self._model.optimizer.learning_rate = self._rates[source]

    def enter(self, index: int) -> None:
        """Continues the training with stage `index`."""
        if self._rates[index] is not None:
            self.start(index, 0, restored=True)

    def _schedule(self, source: int, index: int, done: int) -> StageSchedule:
        """Returns the rate of stage `source`, which began before `done` epochs of stage `index`."""
        rate = self._rates[source]
        if not isinstance(rate, LearningRateSchedule):
            return StageSchedule(rate)
        first = int(ops.convert_to_numpy(self._counter))
        for stage, epochs in [*enumerate(self._epochs[:index]), (index, done)][source:]:
            steps = self._steps(stage) if epochs else 0
            if steps is None:
                raise ValueError(
                    "To resume within a stage whose `learning_rate` is a schedule, its updates so "
                    "far must be known, but the data set has no known length. Give the stages "
                    "`steps_per_epoch`."
                )
            first -= epochs * steps
        return StageSchedule(rate, first)

    def _use(self, schedule: LearningRate) -> None:
        self._model.optimizer.learning_rate = schedule
        _private_api.forget_training_step(self._model)
