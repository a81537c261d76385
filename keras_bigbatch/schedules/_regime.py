"""A training recipe that was tuned at a small batch, and how to carry it to a large one."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras

from keras_bigbatch._arguments import boolean, positive_integer, positive_number
from keras_bigbatch._rates.learning_rate_scaler import LearningRateScaler, Warmup
from keras_bigbatch._rates.learning_rates import (
    LearningRate,
    LearningRateSchedule,
    checked_learning_rate,
    learning_rate_key,
)
from keras_bigbatch._rates.regime_stretch import RegimeStretch
from keras_bigbatch._rates.rescaled_schedule import plain_fraction
from keras_bigbatch._rates.scale_learning_rate import Rule
from keras_bigbatch.schedules._plan import Plan, planned_epochs, planned_pace
from keras_bigbatch.schedules._rates_by_epoch import RatesByEpoch


@dataclass(frozen=True)
class Regime:
    """A small-batch recipe: sizes in samples, lengths in epochs, rates by epoch or by update.

    Use it to find out what to type instead at a large batch: `regime.at(4096)` gives a `Plan` with
    the epochs and the schedule, and `print(plan)` shows both recipes side by side.

    It counts in optimizer updates, exactly, where "multiply the epochs by the ratio of the batches"
    does not: 50 000 samples are 391 updates at batch 128 and 13 at 4096 (with partial batches), so
    32 times the epochs are 6.4 % more updates than "the same number". Epoch `e` starts at update
    `e * steps_per_epoch`, and that update has epoch e's rate already. (Keras's own
    `PiecewiseConstantDecay` changes one update after its boundary.) A regime cannot be changed;
    equal ones compare equal, schedules by class and config.

    Args:
        batch: Samples in one optimizer update.
        epochs: Passes over the data set.
        examples: Samples trained on in an epoch: what `validation_split` leaves.
        learning_rate: A positive float, `{epoch: rate}` with an entry for epoch 0 (each rate holds
            until the next entry), or a `LearningRateSchedule` in updates.
        drop_remainder: Whether the last batch of an epoch is dropped when it is not full. `fit` on
            arrays keeps it, and so do `tf.data` and torch's `DataLoader`. `True` is for data of
            `.batch(batch, drop_remainder=True)` or `DataLoader(drop_last=True)`.

    Attributes:
        steps_per_epoch: Updates in one epoch.
        updates: Updates in all epochs.
        samples: Samples processed in all epochs.
        drops: A tuple of `(update, epoch, rate)`, one for each rate in force from that update on,
            the first at update 0. Empty if `learning_rate` is a schedule.

    Raises:
        ValueError: If an argument is out of range, or the batch is larger than the data set.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    regime = kbb.Regime(
        batch=128, epochs=200, examples=50_000, learning_rate={0: 0.1, 81: 0.01, 122: 0.001}
    )
    plan = regime.at(batch=4096, warmup_epochs=5)
    print(plan)
    optimizer = keras.optimizers.SGD(plan.learning_rate, momentum=0.9, global_clipnorm=5.0)
    # model.fit(x, y, **plan.fit_arguments(x))
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), sections 5 and 6
    """

    batch: int
    epochs: int
    examples: int
    learning_rate: LearningRate | Mapping[int, float]
    drop_remainder: bool = False

    def __post_init__(self) -> None:
        units = {
            "batch": "It counts samples.",
            "epochs": "It counts epochs.",
            "examples": "It counts samples: `len(x)`.",
        }
        for name, hint in units.items():
            object.__setattr__(self, name, positive_integer(name, getattr(self, name), hint))
        boolean("drop_remainder", self.drop_remainder)
        _steps_per_epoch(self.examples, self.batch, self.drop_remainder)
        rates: Any = self.learning_rate
        by_epoch = isinstance(rates, Mapping)
        checked = RatesByEpoch(rates, self.epochs) if by_epoch else checked_learning_rate(rates)
        object.__setattr__(self, "learning_rate", checked)

    def _key(self) -> tuple[Hashable, ...]:
        rates = self.learning_rate
        key = rates if isinstance(rates, RatesByEpoch) else learning_rate_key(rates)
        return self.batch, self.epochs, self.examples, self.drop_remainder, key

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Regime) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def steps_per_epoch(self) -> int:
        return _steps_per_epoch(self.examples, self.batch, self.drop_remainder)

    @property
    def updates(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def samples(self) -> int:
        return self.epochs * min(self.steps_per_epoch * self.batch, self.examples)

    @property
    def drops(self) -> tuple[tuple[int, int, float], ...]:
        if isinstance(self.learning_rate, LearningRateSchedule):
            return ()
        rates = self.learning_rate
        if not isinstance(rates, RatesByEpoch):
            rates = {0: rates}
        return tuple((epoch * self.steps_per_epoch, epoch, rate) for epoch, rate in rates.items())

    def at(
        self,
        batch: int,
        rule: Rule = "sqrt",
        stretch: float | None = None,
        warmup_epochs: float = 0,
        accumulation_steps: int = 1,
        warmup: Warmup = "gradual",
    ) -> Plan:
        """Returns the recipe for a larger batch, in the same model, loss and optimizer.

        By default (`stretch=None`) the plan has the same number of optimizer updates, to the
        nearest whole epoch, and every rate starts at the update where it started before. With
        `stretch=s` the plan has `s` times the epochs: what began at epoch `e` begins at epoch
        `e * s`, or at the first update after it. `stretch=1` costs what the small batch cost.

        Args:
            batch: Samples in one optimizer update: all replicas and all accumulated micro-batches
                together.
            rule: How the rates grow, see `scale_learning_rate`.
            stretch: What the epochs are multiplied by, any positive number; `None` keeps the
                number of updates. `batch / regime.batch` is the paper's literal recipe.
            warmup_epochs: Length of the warm-up, not necessarily whole. Epochs at the large batch
                for `"gradual"`. For `"legw"` epochs of the small-batch recipe, and the warm-up has
                as many updates as it had there.
            accumulation_steps: The optimizer's `gradient_accumulation_steps`, or 1. `fit` then gets
                batches of `plan.micro_batch` samples.
            warmup: `"gradual"` or `"legw"`, see `LearningRateScaler`.

        Returns:
            The plan.

        Raises:
            ValueError: If an argument is out of range, the batch is not a multiple of
                `accumulation_steps`, the (micro-)batch is larger than the data set, or the warm-up
                is as long as the training.
        """
        batch = positive_integer("batch", batch, "It counts the samples of one optimizer update.")
        accumulation_steps = positive_integer(
            "accumulation_steps", accumulation_steps, "Micro-batches in one optimizer update."
        )
        micro_batch, rest = divmod(batch, accumulation_steps)
        if rest:
            raise ValueError(
                "`batch` must be a multiple of `accumulation_steps`, as it counts the samples of "
                f"all accumulated micro-batches. Received: batch={batch}, accumulation_steps="
                f"{accumulation_steps}. The next multiple is {batch - rest + accumulation_steps}."
            )
        steps = _steps_per_epoch(self.examples, micro_batch, self.drop_remainder)
        # Keras accumulates across the end of an epoch, so that this need not be whole.
        updates_per_epoch = Fraction(steps, accumulation_steps)
        if stretch is not None:
            hint = "It multiplies the epochs; None keeps the number of updates."
            stretch = positive_number("stretch", stretch, hint)
        pace = planned_pace(stretch, self.steps_per_epoch, updates_per_epoch)
        epochs = planned_epochs(self.epochs, self.steps_per_epoch, updates_per_epoch, pace)
        updates = math.floor(epochs * updates_per_epoch)

        hint = "0 is no warm-up."
        length = positive_number("warmup_epochs", warmup_epochs, hint, zero_allowed=True)
        per_epoch = self.steps_per_epoch if warmup == "legw" else updates_per_epoch
        warmup_updates = max(1, round(plain_fraction(length) * per_epoch)) if length else 0
        if warmup_updates >= updates:
            raise ValueError(
                "The warm-up must be shorter than the training. Received: warmup_epochs="
                f"{warmup_epochs} with warmup={warmup!r}, which makes {warmup_updates} updates of "
                f"{updates}. Shorten the warm-up or train for longer with a larger `stretch`."
            )

        # If a short plan brings two rates to the same update, the later one holds.
        starts = {math.ceil(update * pace): rate for update, _, rate in self.drops}
        scaler = LearningRateScaler(
            self._paced(starts, pace, batch),
            self.batch,
            batch,
            rule,
            warmup_updates,
            accumulation_steps,
            warmup,
        )
        return Plan(
            batch=batch,
            epochs=epochs,
            steps_per_epoch=steps,
            updates=updates,
            learning_rate=scaler,
            accumulation_steps=accumulation_steps,
            micro_batch=micro_batch,
            warmup_updates=warmup_updates,
            warmup=warmup,
            rule=rule,
            stretch=stretch,
            regime=self,
            drops=tuple(
                (update, float(update / updates_per_epoch), rate * scaler.factor)
                for update, rate in starts.items()
            ),
        )

    def _paced(self, starts: dict[int, float], pace: Fraction, batch: int) -> LearningRate:
        """The unscaled rate in large-batch updates."""
        if isinstance(self.learning_rate, LearningRateSchedule):
            if pace == 1:
                return self.learning_rate
            stretch = float(pace * Fraction(batch, self.batch))
            return RegimeStretch(self.learning_rate, self.batch, batch, stretch)
        first, *later = starts
        if not later:
            return starts[first]
        # Keras holds a rate up to and including its boundary.
        return keras.optimizers.schedules.PiecewiseConstantDecay(
            [update - 1 for update in later], list(starts.values())
        )


def _steps_per_epoch(examples: int, batch: int, drop_remainder: bool) -> int:
    if batch > examples:
        # Without `drop_remainder` too: the rate would be scaled for a batch that never comes.
        raise ValueError(
            "A batch (or micro-batch) cannot be larger than the data set. Received: "
            f"{batch} samples in a batch, examples={examples}. Choose a smaller batch; "
            f"{examples} is the whole data set in one."
        )
    return examples // batch if drop_remainder else -(-examples // batch)
