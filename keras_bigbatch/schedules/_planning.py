"""From a small-batch recipe to the plan for a large batch, with exact counts of updates."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import keras

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._rates.held_warmup import with_warmup_held
from keras_bigbatch._rates.learning_rate_scaler import Warmup
from keras_bigbatch._rates.learning_rates import LearningRate
from keras_bigbatch._rates.rescaled_schedule import plain_fraction
from keras_bigbatch._rates.scale_learning_rate import Rule
from keras_bigbatch.optimizers._batch_move import BatchMove, Decay, ScheduleWarmup
from keras_bigbatch.optimizers._batch_rules import Betas
from keras_bigbatch.schedules._plan import Plan, planned_epochs, planned_pace

if TYPE_CHECKING:
    from keras_bigbatch.schedules._regime import Regime


def plan_for(
    regime: Regime,
    batch: int,
    rule: Rule | None,
    stretch: float | None,
    warmup_epochs: float,
    accumulation_steps: int,
    warmup: Warmup,
    betas: Betas | None,
    decay: Decay,
    schedule_warmup: ScheduleWarmup,
) -> Plan:
    """Returns the plan of `Regime.at`, with the same arguments."""
    batch = positive_integer("batch", batch, "It counts the samples of one optimizer update.")
    accumulation_steps = positive_integer(
        "accumulation_steps", accumulation_steps, "Micro-batches in one optimizer update."
    )
    micro_batch, rest = divmod(batch, accumulation_steps)
    if rest:
        raise ValueError(
            "`batch` must be a multiple of `accumulation_steps`, since it counts the samples of "
            f"all accumulated micro-batches. Received: batch={batch}, accumulation_steps="
            f"{accumulation_steps}. The next multiple is {batch - rest + accumulation_steps}."
        )
    steps = steps_per_epoch(regime.examples, micro_batch, regime.drop_remainder)
    # Keras accumulates across the end of an epoch, so this need not be whole.
    updates_per_epoch = Fraction(steps, accumulation_steps)
    if stretch is not None:
        hint = "It multiplies the epochs; None keeps the number of updates."
        stretch = positive_number("stretch", stretch, hint)
    pace = planned_pace(stretch, regime.steps_per_epoch, updates_per_epoch)
    epochs = planned_epochs(regime.epochs, regime.steps_per_epoch, updates_per_epoch, pace)
    updates = math.floor(epochs * updates_per_epoch)

    hint = "0 means no warm-up."
    length = positive_number("warmup_epochs", warmup_epochs, hint, zero_allowed=True)
    per_epoch = regime.steps_per_epoch if warmup == "legw" else updates_per_epoch
    warmup_updates = max(1, round(plain_fraction(length) * per_epoch)) if length else 0
    if warmup_updates >= updates:
        raise ValueError(
            "The warm-up must be shorter than the training. Received: warmup_epochs="
            f"{warmup_epochs} with warmup={warmup!r}, which makes {warmup_updates} updates of "
            f"{updates}. Shorten the warm-up or train longer with a larger `stretch`."
        )

    move = _move(regime, batch, pace, rule, betas, decay, accumulation_steps, schedule_warmup)
    # If a short plan brings two rates to the same update, the later one holds.
    starts = {math.ceil(update * pace): rate for update, _, rate in regime.drops}
    own_rule = move.rule or "sqrt"
    if regime.optimizer is not None:
        own_rule = move.rule_of(regime.optimizer.leading)
    rate = _by_update(starts) if starts else move.paced(regime.rate)
    scaler = move.scaled(rate, own_rule, warmup_updates, warmup)
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
        rule=own_rule,
        stretch=stretch,
        regime=regime,
        drops=tuple(
            (update, float(update / updates_per_epoch), rate * scaler.factor)
            for update, rate in starts.items()
        ),
        move=move,
    )


def _move(
    regime: Regime,
    batch: int,
    pace: Fraction,
    rule: Rule | None,
    betas: Betas | None,
    decay: Decay,
    accumulation_steps: int,
    schedule_warmup: ScheduleWarmup,
) -> BatchMove:
    """Returns how the hyperparameters follow the batch. Raises if they need an optimizer."""
    move = BatchMove(
        regime.batch, batch, pace, rule, betas, decay, accumulation_steps, schedule_warmup
    )
    if regime.optimizer is not None:
        move.check(regime.optimizer)
    elif betas is not None or decay != "samples":
        raise ValueError(
            "`betas` and `decay` change an optimizer, and the regime has none. "
            f"Received: betas={betas!r}, decay={decay!r}. Pass one: `Regime(optimizer=...)`."
        )
    if schedule_warmup == "updates" and regime.drops:
        with_warmup_held(regime.rate, pace)  # raises: this is not a schedule with a warm-up
    return move


def _by_update(starts: dict[int, float]) -> LearningRate:
    """Returns the rates by the update at which they start."""
    first, *later = starts
    if not later:
        return starts[first]
    # Keras holds a rate up to and including its boundary.
    return keras.optimizers.schedules.PiecewiseConstantDecay(
        [update - 1 for update in later], list(starts.values())
    )


def steps_per_epoch(examples: int, batch: int, drop_remainder: bool) -> int:
    if batch > examples:
        # Also without `drop_remainder`: the rate would be scaled for a batch that never comes.
        raise ValueError(
            "A batch (or micro-batch) cannot be larger than the data set. Received: "
            f"{batch} samples in a batch, examples={examples}. Choose a smaller batch; "
            f"{examples} is the whole data set in one batch."
        )
    return examples // batch if drop_remainder else -(-examples // batch)
