"""The large-batch recipe that follows from a small-batch one, and its table."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from keras_bigbatch.schedules._learning_rate_scaler import LearningRateScaler
from keras_bigbatch.schedules._scale_learning_rate import Rule

if TYPE_CHECKING:
    from keras_bigbatch.schedules._regime import Regime

_WIDTH = 80
# A row of the table: its label, and the cells of the small and of the large recipe. One cell spans
# the whole side, three stand in columns.
_Row = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Plan:
    """What to type at the large batch: sizes in samples, `updates` in optimizer updates.

    `Regime.at` makes plans. `print(plan)` shows the small-batch recipe and the plan side by side:
    batches, epochs, updates, samples processed, every rate and where it starts, the warm-up, and
    what the plan costs. A rate that starts at or after the last update is marked "not reached".

    With `accumulation_steps = k > 1`, `fit` gets batches of `micro_batch` samples and the optimizer
    `gradient_accumulation_steps=k`; `steps_per_epoch` counts `fit`'s steps and `updates` the
    optimizer's, of which an epoch need not have a whole number: Keras accumulates across its end.

    Args:
        batch: Samples in one optimizer update.
        epochs: Epochs for `fit`.
        steps_per_epoch: Batches that `fit` sees in one epoch, micro-batches under accumulation.
        updates: Optimizer updates in all epochs.
        learning_rate: A `LearningRateScaler` for the optimizer. It counts in updates, also under
            accumulation.
        accumulation_steps: Micro-batches in one update.
        micro_batch: The batch size for `fit`: `batch / accumulation_steps`.
        warmup_updates: Updates until the scaled rate is reached.
        rule: The rule that scaled the rates.
        stretch: What the epochs were multiplied by; `None` if the number of updates was kept.
        regime: The small-batch recipe.
        drops: A tuple of `(update, epoch, rate)`, one for each rate in force from that update on,
            the first at update 0; the epoch need not be whole. Empty for a schedule.

    Attributes:
        samples: Samples processed in all epochs.

    Example:

    ```python
    import keras
    import keras_bigbatch as kbb

    regime = kbb.Regime(batch=128, epochs=20, examples=50_000, learning_rate={0: 0.1, 10: 0.01})
    plan = regime.at(batch=4096, accumulation_steps=8)
    print(plan)
    optimizer = keras.optimizers.SGD(
        plan.learning_rate, momentum=0.9, gradient_accumulation_steps=plan.accumulation_steps
    )
    # model.fit(data.batch(plan.micro_batch, drop_remainder=True), epochs=plan.epochs)
    ```
    """

    batch: int
    epochs: int
    steps_per_epoch: int
    updates: int
    learning_rate: LearningRateScaler
    accumulation_steps: int
    micro_batch: int
    warmup_updates: int
    rule: Rule
    stretch: float | None
    regime: Regime
    drops: tuple[tuple[int, float, float], ...]

    @property
    def samples(self) -> int:
        return self.epochs * min(self.steps_per_epoch * self.micro_batch, self.regime.examples)

    def __str__(self) -> str:
        sizes, rates = _size_rows(self), _rate_rows(self)
        lines = _aligned([*sizes, *rates])
        rule = "-" * max(map(len, lines))
        sentences = [_scaling(self), _warmup(self), _remainder(self), _cost(self)]
        notes = [textwrap.fill(sentence, _WIDTH) for sentence in sentences if sentence]
        table = [lines[0], rule, *lines[1 : len(sizes)], rule, *lines[len(sizes) :], rule]
        return "\n".join([*table, *notes])


def _size_rows(plan: Plan) -> list[_Row]:
    regime = plan.regime
    per_epoch = Fraction(plan.steps_per_epoch, plan.accumulation_steps)
    rows = [
        ("", "small batch", "large batch"),
        ("batch", _number(regime.batch), _number(plan.batch)),
    ]
    if plan.accumulation_steps > 1:
        micro_batches = f"{_number(plan.accumulation_steps)} x {_number(plan.micro_batch)}"
        rows += [
            ("micro-batches", "-", micro_batches),
            ("fit steps per epoch", "-", _number(plan.steps_per_epoch)),
        ]
    rows += [
        ("epochs", _number(regime.epochs), _number(plan.epochs)),
        ("updates per epoch", _number(regime.steps_per_epoch), _number(per_epoch)),
        ("updates", _number(regime.updates), _number(plan.updates)),
        ("samples processed", _number(regime.samples), _number(plan.samples)),
    ]
    return [(label, (small,), (large,)) for label, small, large in rows]


def _rate_rows(plan: Plan) -> list[_Row]:
    """Where each rate starts; of a schedule, the rate at five places."""
    regime = plan.regime
    head = ("update", "epoch", "rate")
    if regime.drops:
        small = [(_number(u), _number(epoch), f"{rate:.4g}") for u, epoch, rate in regime.drops]
        large = [
            (_number(u), _number(epoch), f"{rate:.4g}" if u < plan.updates else "not reached")
            for u, epoch, rate in plan.drops
        ]
        large += [("", "", "")] * (len(small) - len(large))
        labels = ["learning rate from"] + [""] * len(small)
        return [(labels[0], head, head), *zip(labels[1:], small, large, strict=True)]
    schedule: Any = regime.learning_rate
    rows: list[_Row] = [("learning rate at", head, head)]
    for quarters, label in enumerate(("the start", "1/4", "1/2", "3/4", "the end")):
        before = (regime.updates - 1) * quarters // 4
        after = (plan.updates - 1) * quarters // 4
        step = after * plan.accumulation_steps
        small_cells = (
            _number(before),
            _number(Fraction(before, regime.steps_per_epoch)),
            f"{float(schedule(before)):.4g}",
        )
        large_cells = (
            _number(after),
            _number(Fraction(step, plan.steps_per_epoch)),
            f"{float(plan.learning_rate(step)):.4g}",
        )
        rows.append((f"  {label}", small_cells, large_cells))
    return rows


def _scaling(plan: Plan) -> str:
    name = getattr(plan.rule, "__name__", "custom") if callable(plan.rule) else plan.rule
    ratio = _factor(Fraction(plan.batch, plan.regime.batch))
    return f"Batch x {ratio}, rates x {_factor(plan.learning_rate.factor)} (rule: {name})."


def _warmup(plan: Plan) -> str:
    if not plan.warmup_updates:
        return "No warm-up."
    start = "zero" if plan.learning_rate.warmup == "legw" else "the unscaled rate"
    epochs = Fraction(plan.warmup_updates * plan.accumulation_steps, plan.steps_per_epoch)
    updates = "update" if plan.warmup_updates == 1 else "updates"
    return (
        f"Warm-up: {plan.warmup_updates:,} {updates} (to epoch {_number(epochs)}), "
        f"from {start} to the scaled one."
    )


def _remainder(plan: Plan) -> str:
    """Which batches the counts are true for, where it matters."""
    regime = plan.regime
    if regime.examples % regime.batch == 0 and regime.examples % plan.micro_batch == 0:
        return ""
    if regime.drop_remainder:
        return "Counted without each epoch's partial batch; for arrays use drop_remainder=False."
    return "Counted with each epoch's partial batch, as fit does with arrays."


def _cost(plan: Plan) -> str:
    regime = plan.regime
    samples = f"{_factor(Fraction(plan.samples, regime.samples))} times the small batch's samples"
    if plan.samples == regime.samples:
        samples = "as many samples as the small batch"
    more = plan.updates - regime.updates
    updates = "the same number of updates"
    if more:
        percent = 100 * more / regime.updates
        percent_text = f"{percent:+,.1f}%" if abs(percent) >= 0.1 else f"{percent:+.1g}%"
        updates = f"{abs(more):,} {'more' if more > 0 else 'fewer'} updates ({percent_text})"
    return f"Cost: {samples}, and {updates}."


def _factor(factor: float | Fraction) -> str:
    """A factor, to four digits."""
    return f"{float(factor):.4g}" if factor < 1000 else f"{float(factor):,.0f}"


def _number(value: float | Fraction) -> str:
    """At most two decimals and thousands separators."""
    text = f"{float(value):,.2f}"
    return text.rstrip("0").rstrip(".")


def _aligned(rows: list[_Row]) -> list[str]:
    """The rows as text, all columns aligned."""
    labels = [label for label, _, _ in rows]
    small = _aligned_side([cells for _, cells, _ in rows])
    large = _aligned_side([cells for _, _, cells in rows])
    indent = max(map(len, labels))
    parts = zip(labels, small, large, strict=True)
    return [f"{label:<{indent}}  {left}    {right}".rstrip() for label, left, right in parts]


def _aligned_side(cells: list[tuple[str, ...]]) -> list[str]:
    """One side of the table: three right-aligned columns, or one cell at their right end."""
    columns = [max(len(row[column]) for row in cells if len(row) == 3) for column in range(3)]
    parts = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, columns, strict=True))
        if len(row) == 3
        else "".join(row)
        for row in cells
    ]
    width = max(map(len, parts))
    return [part.rjust(width) for part in parts]
