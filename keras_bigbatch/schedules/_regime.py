"""A training recipe that was tuned at a small batch, and how to carry it to a large one."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import keras

from keras_bigbatch._arguments import boolean, positive_integer, shown
from keras_bigbatch._rates.learning_rate_scaler import Warmup
from keras_bigbatch._rates.learning_rates import (
    LearningRate,
    LearningRateSchedule,
    learning_rate_key,
)
from keras_bigbatch._rates.scale_learning_rate import Rule
from keras_bigbatch.optimizers._batch_move import Decay, ScheduleWarmup
from keras_bigbatch.optimizers._batch_rules import Betas
from keras_bigbatch.optimizers._optimizer_recipe import rate_in_updates, recipe_of
from keras_bigbatch.schedules._plan import Plan
from keras_bigbatch.schedules._planning import plan_for, steps_per_epoch
from keras_bigbatch.schedules._rates_by_epoch import RatesByEpoch, checked_rates


@dataclass(frozen=True)
class Regime:
    """A small-batch recipe, with sizes in samples, lengths in epochs, and rates by epoch or update.

    Use it to get the recipe for a large batch. `regime.at(4096)` returns a `Plan` with the epochs,
    the schedule and the optimizer, and `print(plan)` shows both recipes. `Regime.from_compiled`
    takes the optimizer from a compiled model.

    Optimizer updates are counted exactly. With 50 000 samples, an epoch has 391 updates at batch
    128 and 13 at 4096 (with partial batches), so training for 32 times the epochs makes 6.4 % more
    updates, not the same number. Epoch `e` starts at update `e * steps_per_epoch`, and that update
    already uses the epoch's rate. (Keras's `PiecewiseConstantDecay` changes the rate one update
    after its boundary.) Regimes are immutable and compare by value, with schedules and optimizers
    compared by class and config.

    Args:
        batch: Samples in one optimizer update.
        epochs: Passes over the data set.
        examples: Number of training samples in an epoch, without those of a `validation_split`.
        learning_rate: A positive float, `{epoch: rate}` with an entry for epoch 0 (each rate holds
            until the next entry), or a `LearningRateSchedule` in updates. None means the
            optimizer's rate.
        drop_remainder: Whether the last batch of an epoch is dropped if it is not full. By default,
            `fit` on arrays, `tf.data` and torch's `DataLoader` keep it. Pass `True` for data from
            `.batch(batch, drop_remainder=True)` or `DataLoader(drop_last=True)`.
        optimizer: An optimizer. The regime keeps its class and config, and does not change it.

    Attributes:
        steps_per_epoch: Updates in one epoch.
        rate: The `learning_rate`, or the optimizer's rate. For a `MultiOptimizer`, the rate of its
            default optimizer.
        updates: Updates in all epochs.
        samples: Samples processed in all epochs.
        drops: A tuple with one `(update, epoch, rate)` for each rate. The rate applies from that
            update on, and the first is at update 0. Empty if `learning_rate` is a schedule.

    Raises:
        ValueError: If an argument is out of range, there is neither a rate nor an optimizer, or the
            batch is larger than the data set.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    sgd = keras.optimizers.SGD(momentum=0.9, global_clipnorm=5.0)
    regime = kbb.Regime(128, 200, 50_000, {0: 0.1, 81: 0.01}, optimizer=sgd)
    plan = regime.at(batch=4096, warmup_epochs=5)
    print(plan)
    # model.compile(plan.optimizer(), loss)
    # model.fit(x, y, **plan.fit_arguments(x))
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), sections 5 and 6
    """

    batch: int
    epochs: int
    examples: int
    learning_rate: LearningRate | Mapping[int, float] | None = None
    drop_remainder: bool = False
    optimizer: Any = None

    def __post_init__(self) -> None:
        units = {
            "batch": "It counts samples.",
            "epochs": "It counts epochs.",
            "examples": "It counts samples: `len(x)`.",
        }
        for name, hint in units.items():
            object.__setattr__(self, name, positive_integer(name, getattr(self, name), hint))
        boolean("drop_remainder", self.drop_remainder)
        steps_per_epoch(self.examples, self.batch, self.drop_remainder)
        if self.optimizer is not None:
            object.__setattr__(self, "optimizer", recipe_of(self.optimizer))
        checked = checked_rates(self.learning_rate, self.epochs, self.optimizer)
        object.__setattr__(self, "learning_rate", checked)

    @classmethod
    def from_compiled(
        cls,
        model: keras.Model,
        batch: int,
        epochs: int,
        examples: int,
        drop_remainder: bool = False,
    ) -> Self:
        """Returns the regime of a model compiled for the small batch.

        It uses the optimizer's current settings, including a rate that a callback has changed. Then
        call `regime.at(...)`, and compile again with `plan.optimizer()`.

        Args:
            model: A compiled model. It is not changed.
            batch: Samples in one optimizer update, over all accumulated micro-batches.
            epochs: As for `Regime`.
            examples: As for `Regime`.
            drop_remainder: As for `Regime`.

        Raises:
            ValueError: If the model is not compiled, or as for `Regime`.

        Example:

        ```python
        import keras, keras_bigbatch as kbb
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.AdamW(3e-4), "mse")
        plan = kbb.Regime.from_compiled(model, batch=32, epochs=10, examples=8000).at(256)
        model.compile(plan.optimizer(), "mse")
        ```
        """
        optimizer = getattr(model, "optimizer", None)
        if optimizer is None:
            raise ValueError(
                "`model` must be a compiled model, whose optimizer the recipe takes. Received: "
                f"{shown(model)}. Call `model.compile(...)` as for the small batch, or pass the "
                "optimizer itself: `Regime(optimizer=...)`."
            )
        return cls(batch, epochs, examples, None, drop_remainder, optimizer)

    @property
    def rate(self) -> LearningRate | Mapping[int, float]:
        if self.learning_rate is not None:
            return self.learning_rate
        return rate_in_updates(self.optimizer.leading)

    def _key(self) -> tuple[Hashable, ...]:
        rates = self.learning_rate
        key = rates if isinstance(rates, RatesByEpoch | None) else learning_rate_key(rates)
        return self.batch, self.epochs, self.examples, self.drop_remainder, key, self.optimizer

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Regime) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(self.examples, self.batch, self.drop_remainder)

    @property
    def updates(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def samples(self) -> int:
        return self.epochs * min(self.steps_per_epoch * self.batch, self.examples)

    @property
    def drops(self) -> tuple[tuple[int, int, float], ...]:
        rates: Any = self.rate
        if isinstance(rates, LearningRateSchedule):
            return ()
        if not isinstance(rates, RatesByEpoch):
            rates = {0: rates}
        return tuple((epoch * self.steps_per_epoch, epoch, rate) for epoch, rate in rates.items())

    def at(
        self,
        batch: int,
        rule: Rule | None = None,
        stretch: float | None = None,
        warmup_epochs: float = 0,
        accumulation_steps: int = 1,
        warmup: Warmup = "gradual",
        betas: Betas | None = None,
        decay: Decay = "samples",
        schedule_warmup: ScheduleWarmup = "samples",
    ) -> Plan:
        """Returns the recipe for a larger batch, with the same model and loss.

        By default (`stretch=None`), the plan makes the same number of optimizer updates, rounded to
        the nearest whole epoch, and every rate starts at the same update as before. With
        `stretch=s`, the plan has `s` times the epochs: what began at epoch `e` now begins at epoch
        `e * s`, or at the first update after it. `stretch=1` processes as many samples as the small
        batch did.

        Args:
            batch: Samples in one optimizer update, over all replicas and all accumulated
                micro-batches.
            rule: How the rates are scaled (see `scale_learning_rate`). None means the optimizer's
                rule (see `optimizers.scale_optimizer`), or the square root if there is no
                optimizer.
            stretch: The factor on the epochs, any positive number. `None` keeps the number of
                updates. `batch / regime.batch` is exactly the paper's recipe.
            warmup_epochs: Length of the warm-up, which may be a fraction. For `"gradual"`, it is in
                epochs at the large batch. For `"legw"`, it is in epochs of the small-batch recipe,
                and the warm-up takes as many updates as it did there.
            accumulation_steps: The optimizer's `gradient_accumulation_steps`, or 1. `fit` then gets
                batches of `plan.micro_batch` samples.
            warmup: `"gradual"` or `"legw"`. See `LearningRateScaler`.
            betas: `"samples"` or `"keep"`. See `optimizers.scale_optimizer`.
            decay: `"samples"` or `"training"`. See `optimizers.scale_optimizer`.
            schedule_warmup: `"samples"` or `"updates"`. See `optimizers.scale_optimizer`.

        Returns:
            The plan.

        Raises:
            ValueError: If an argument is out of range, the batch is not a multiple of
                `accumulation_steps`, the (micro-)batch is larger than the data set, the warm-up is
                as long as the run, or the optimizer has no rule and you did not choose one.
        """
        return plan_for(
            self,
            batch,
            rule,
            stretch,
            warmup_epochs,
            accumulation_steps,
            warmup,
            betas,
            decay,
            schedule_warmup,
        )
