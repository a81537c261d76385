"""The large-batch recipe that follows from a small-batch one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Any

import keras

from keras_bigbatch._arguments import boolean, positive_number
from keras_bigbatch._rates.learning_rate_scaler import LearningRateScaler, Warmup
from keras_bigbatch._rates.rescaled_schedule import plain_fraction
from keras_bigbatch._rates.scale_learning_rate import Rule
from keras_bigbatch.optimizers._batch_move import BatchMove
from keras_bigbatch.schedules._fit_arguments import check_length, sets_rate, warn_of_callbacks
from keras_bigbatch.schedules._plan_check import PlanCheck
from keras_bigbatch.schedules._plan_table import plan_table
from keras_bigbatch.schedules._planned_optimizer import planned_changes

if TYPE_CHECKING:
    from keras_bigbatch.schedules._regime import Regime


@dataclass(frozen=True)
class Plan:
    """The recipe for the large batch, with sizes in samples and `updates` in optimizer updates.

    `Regime.at` creates plans. `print(plan)` shows the small-batch recipe and the plan side by side:
    batches, epochs, updates, samples processed, each learning rate and where it starts, the
    warm-up, and what the plan costs. A rate that would start after the last update is marked "not
    reached". `fit_arguments` passes the plan to `fit`, with a callback that raises an error if
    `fit` would train differently.

    With `accumulation_steps = k > 1`, `fit` gets batches of `micro_batch` samples and the optimizer
    gets `gradient_accumulation_steps=k`. `steps_per_epoch` counts the steps of `fit`, and `updates`
    those of the optimizer. An epoch does not need a whole number of updates, because Keras
    accumulates across epochs.

    Args:
        batch: Samples in one optimizer update.
        epochs: Epochs for `fit`.
        steps_per_epoch: Batches that `fit` sees in one epoch. With accumulation, these are
            micro-batches.
        updates: Optimizer updates in all epochs.
        learning_rate: A `LearningRateScaler` for the optimizer. It counts updates, even with
            accumulation.
        accumulation_steps: Micro-batches in one update.
        micro_batch: The batch size for `fit`: `batch / accumulation_steps`.
        warmup_updates: Updates until the scaled rate is reached.
        warmup: The kind of warm-up. See `LearningRateScaler`.
        rule: The rule that scaled the rates.
        stretch: The factor on the epochs, or `None` if the number of updates was kept.
        regime: The small-batch recipe.
        drops: A tuple with one `(update, epoch, rate)` for each rate. The rate applies from that
            update on, and the first is at update 0. The epoch may be a fraction. Empty if the rate
            is a schedule.
        move: How the optimizer's hyperparameters change with the batch.

    Attributes:
        samples: Samples processed in all epochs.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    regime = kbb.Regime(batch=128, epochs=20, examples=50_000, optimizer=sgd)
    plan = regime.at(batch=4096, accumulation_steps=8)
    print(plan)
    # model.compile(plan.optimizer(), loss)
    # model.fit(x, y, **plan.fit_arguments(x, callbacks=[...]))
    ```
    """

    batch: int
    epochs: int
    steps_per_epoch: int
    updates: int
    # It compares by identity, and the other fields contain all that is in it.
    learning_rate: LearningRateScaler = field(compare=False)
    accumulation_steps: int
    micro_batch: int
    warmup_updates: int
    warmup: Warmup
    rule: Rule
    stretch: float | None
    regime: Regime
    drops: tuple[tuple[int, float, float], ...]
    move: BatchMove = field(repr=False)

    @property
    def samples(self) -> int:
        return self.epochs * min(self.steps_per_epoch * self.micro_batch, self.regime.examples)

    def optimizer(self) -> keras.optimizers.Optimizer:
        """Returns a new optimizer with the plan's rate, accumulation and hyperparameters.

        It has the class and the wrappers of the regime's optimizer. Each call creates a new one.
        `print(plan)` shows what was changed, and by which rule. State is not copied.

        Returns:
            An optimizer for `model.compile`.

        Raises:
            ValueError: If the regime has no optimizer.
        """
        recipe = self.regime.optimizer
        if recipe is None:
            raise ValueError(
                "The regime has no optimizer to make one from. Pass it: `Regime(optimizer=...)`; "
                "or pass `plan.learning_rate` to your own optimizer."
            )
        return recipe.make(functools.partial(planned_changes, self))

    def epochs_for(self, epochs: float) -> int:
        """Converts epochs of the small-batch recipe into epochs of this plan, at least 1.

        Use it for other settings that count epochs, such as
        `EarlyStopping(patience=plan.epochs_for(5))` and `fit(validation_freq=plan.epochs_for(1))`.
        If the plan keeps the number of updates (`stretch=None`), the result takes as many updates
        as before. With `stretch=s`, it is `s` times the epochs.

        Args:
            epochs: Epochs of the small-batch recipe, a positive number.

        Returns:
            The nearest whole number of epochs, or `plan.epochs` for all epochs of the recipe.

        Raises:
            ValueError: If `epochs` is not positive.
        """
        count = positive_number("epochs", epochs, "It counts epochs of the small-batch recipe.")
        per_epoch = Fraction(self.steps_per_epoch, self.accumulation_steps)
        small = self.regime.steps_per_epoch
        pace = planned_pace(self.stretch, small, per_epoch)
        return planned_epochs(plain_fraction(count), small, per_epoch, pace)

    def fit_arguments(
        self,
        x: Any = None,
        callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = (),
    ) -> dict[str, Any]:
        """Returns arguments for `fit`: `model.fit(x, y, **plan.fit_arguments(x, callbacks=[...]))`.

        They are `epochs`, `batch_size` (unless `x` is a data set, which sets its batch size itself)
        and `callbacks`, with `plan.callback()` first. It warns about callbacks that count epochs or
        batches as in the small-batch recipe, or that set the learning rate.

        Args:
            x: The training data, to check their length against the plan. Leave it out if the two
                differ on purpose: with `validation_split`, or in each of several processes.
            callbacks: Your own callbacks, or None.

        Returns:
            A dictionary of keyword arguments.

        Raises:
            ValueError: If the number of samples of `x` is not the regime's `examples` or, for a
                data set, the number of batches is not `steps_per_epoch`; if `x` is neither arrays
                nor a data set; or if one of `callbacks` is not a callback.

        Example:

        ```python
        import keras_bigbatch as kbb

        plan = kbb.Regime(batch=32, epochs=4, examples=1000, learning_rate=0.1).at(batch=250)
        print(plan.fit_arguments())
        ```
        """
        arguments: dict[str, Any] = {"epochs": self.epochs}
        if check_length(self, x):
            arguments["batch_size"] = self.micro_batch
        own = [each for each in keras.tree.flatten(callbacks) if each is not None]
        warn_of_callbacks(self, own)
        check = PlanCheck(self, check_epochs=True, check_rate=not any(map(sets_rate, own)))
        return {**arguments, "callbacks": [check, *own]}

    def callback(self, check_epochs: bool = True) -> keras.callbacks.Callback:
        """Returns a callback that checks that `fit` follows this plan.

        When training begins, it checks the steps per epoch, the epochs, the optimizer's
        accumulation, the batches that its learning rate is scaled for and the number of replicas.
        If one of them differs from the plan, it raises an error before the first update. It does
        not detect a different batch size that gives the same number of steps. If the regime has no
        optimizer, it does not detect a schedule of your own either. It warns if the learning rate
        is a number other than the plan's, if the optimizer differs from the regime's, or if a
        layer's ghost batch is the whole batch. If `fit` does not know its number of steps, as with
        a generator, it warns after the first epoch. You can resume with `initial_epoch` or
        `BackupAndRestore(save_freq="epoch")`.

        Args:
            check_epochs: Whether `fit(epochs=)` must be `plan.epochs`. Pass False if you split one
                run into several calls of `fit`.

        Returns:
            A callback that you can use in several calls of `fit`.
        """
        return PlanCheck(self, boolean("check_epochs", check_epochs))

    def __str__(self) -> str:
        return plan_table(self)

    def _is_no_number(self, *_: Any) -> Any:
        raise TypeError(
            "A plan is not a number. Pass `plan.micro_batch` as the batch size, `plan.epochs` as "
            "the epochs, or all that `fit` needs with `**plan.fit_arguments(x)`. To an optimizer "
            "pass `plan.learning_rate`."
        )

    # What Python calls on a number: `fit` divides by `batch_size`, and compares `epochs`.
    __index__ = __float__ = __rtruediv__ = __rfloordiv__ = __lt__ = __gt__ = _is_no_number


def planned_pace(stretch: float | None, small_steps: int, updates_per_epoch: Fraction) -> Fraction:
    """Large-batch updates per small-batch update; 1 if their number is kept."""
    if stretch is None:
        return Fraction(1)
    return plain_fraction(stretch) * updates_per_epoch / small_steps


def planned_epochs(
    epochs: int | Fraction, small_steps: int, updates_per_epoch: Fraction, pace: Fraction
) -> int:
    """Epochs at the large batch for epochs at the small one, with at least one update.

    Args:
        epochs: Epochs of the small-batch recipe.
        small_steps: Updates in one of them.
        updates_per_epoch: Updates in an epoch at the large batch.
        pace: `planned_pace`.
    """
    return max(round(epochs * small_steps * pace / updates_per_epoch), ceil(1 / updates_per_epoch))
