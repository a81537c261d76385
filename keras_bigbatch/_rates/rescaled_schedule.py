"""What `LearningRateScaler` and `RegimeStretch` share: arguments, nesting, count and config."""

from abc import abstractmethod
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Self

import keras
from keras import ops

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._rates.learning_rates import (
    LearningRate,
    LearningRateSchedule,
    checked_learning_rate,
    deserialize_learning_rate,
    serialize_learning_rate,
)
from keras_bigbatch._typing import Tensor
from keras_bigbatch._user_warnings import is_restored, warn_user


def plain_fraction(number: float | Fraction) -> Fraction:
    """Returns the fraction that was meant: 12/5 for 2.4, whose binary value is a little off."""
    exact = Fraction(number)
    near = exact.limit_denominator(1_000_000)
    # Two roundings of a double; two fractions with such denominators are much further apart.
    return near if abs(near - exact) <= exact / 10**15 else exact


def _with_nested(schedule: Any) -> Iterator[Any]:
    """Yields the schedule and all schedules that it holds, even inside foreign classes."""
    if isinstance(schedule, LearningRateSchedule):
        yield schedule
        for value in vars(schedule).values():
            yield from _with_nested(value)


class RescaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate or schedule tuned at `small_batch`, to be used at `large_batch`."""

    def __init__(
        self,
        learning_rate: LearningRate,
        small_batch: int,
        large_batch: int,
        accumulation_steps: int,
        name: str,
    ) -> None:
        super().__init__()
        samples = "It counts the samples of one optimizer update."
        self.learning_rate = checked_learning_rate(learning_rate)
        self.small_batch = positive_integer("small_batch", small_batch, samples)
        self.large_batch = positive_integer("large_batch", large_batch, samples)
        self.accumulation_steps = positive_integer(
            "accumulation_steps",
            accumulation_steps,
            "It is the optimizer's `gradient_accumulation_steps`, or 1 without accumulation.",
        )
        self.name = name
        for inner in _with_nested(self.learning_rate):
            if isinstance(inner, RescaledSchedule) and inner.accumulation_steps > 1:
                # It would divide a count that is already in updates.
                raise ValueError(
                    "Of nested schedules only the outermost may have `accumulation_steps` above 1. "
                    f"Received: {type(inner).__name__} with accumulation_steps="
                    f"{inner.accumulation_steps} inside {type(self).__name__}. Pass "
                    f"`accumulation_steps={inner.accumulation_steps}` to the outermost schedule "
                    "and leave it out of the inner ones."
                )
        swapped = self.large_batch < self.small_batch
        # An inner schedule of the same batches has warned already.
        if swapped and not any(self._inner_of_same_batches()) and not is_restored():
            warn_user(
                f"`large_batch` is below `small_batch`. Received: small_batch={self.small_batch}, "
                f"large_batch={self.large_batch}. `small_batch` is the one that the recipe was "
                "tuned at. If you do go from a large batch to a small one, ignore this.",
                about=self,
            )

    def _inner_of_same_batches(self) -> Iterator["RescaledSchedule"]:
        batches = self.small_batch, self.large_batch
        for inner in _with_nested(self.learning_rate):
            rescaled = isinstance(inner, RescaledSchedule)
            if rescaled and (inner.small_batch, inner.large_batch) == batches:
                yield inner

    def _change_once(self, done: str, change: float | Fraction) -> None:
        """Stores the factor on the rates or on their pace; 1 means no change.

        Raises if an inner schedule of the same class and batches already makes a change.
        """
        self._change = change
        for inner in self._inner_of_same_batches():
            alike = isinstance(inner, type(self)) or isinstance(self, type(inner))
            if alike and inner._change != 1 and self._change != 1:
                raise ValueError(
                    f"The learning rate is {done} from a batch of {self.small_batch} to "
                    f"{self.large_batch} already, by the {type(inner).__name__} inside. Use it as "
                    "it is; `plan.learning_rate` of a `Regime` is both scaled and stretched."
                )

    def __call__(self, step: Tensor) -> Tensor:
        """Returns the learning rate at the large batch.

        Args:
            step: Optimizer updates done (micro-steps under accumulation), as Keras passes them:
                an integer, a tensor or a variable.

        Returns:
            The rate, a scalar tensor.
        """
        with keras.name_scope(self.name):
            return self._rate(self._update(step))

    @abstractmethod
    def _rate(self, update: Tensor) -> Tensor:
        """The rate at an optimizer update."""

    def _update(self, step: Tensor) -> Tensor:
        """The optimizer update that `step` belongs to: Keras counts accumulated micro-steps."""
        step = ops.convert_to_tensor(step)
        return ops.floor_divide(step, self.accumulation_steps)

    def get_config(self) -> dict[str, Any]:
        return {
            "learning_rate": serialize_learning_rate(self.learning_rate),
            "small_batch": self.small_batch,
            "large_batch": self.large_batch,
            "accumulation_steps": self.accumulation_steps,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        learning_rate = deserialize_learning_rate(config["learning_rate"])
        return cls(**{**config, "learning_rate": learning_rate})
