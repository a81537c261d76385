"""What `print(plan)` shows."""

from __future__ import annotations

import textwrap
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from keras_bigbatch.schedules._optimizer_table import optimizer_notes, optimizer_rows

if TYPE_CHECKING:
    from keras_bigbatch.schedules._plan import Plan

_WIDTH = 80
# A row of the table: its label, and the cells of the small and of the large recipe. One cell spans
# the whole side; three cells are in columns.
_Row = tuple[str, tuple[str, ...], tuple[str, ...]]


def plan_table(plan: Plan) -> str:
    """Shows both recipes side by side, and sentences on what was scaled and what it costs."""
    sizes, rates = _size_rows(plan), _rate_rows(plan)
    lines = _aligned([*sizes, *rates])
    optimizer = _optimizer_lines(plan)
    rule = "-" * max(map(len, [*lines, *optimizer]))
    sentences = [_scaling(plan), _warmup(plan), _remainder(plan), _cost(plan)]
    if optimizer:
        optimizer.append(rule)
        sentences += optimizer_notes(plan)
    sentences.append(_use(plan))
    notes = [textwrap.fill(sentence, _WIDTH) for sentence in sentences if sentence]
    table = [lines[0], rule, *lines[1 : len(sizes)], rule, *lines[len(sizes) :], rule, *optimizer]
    return "\n".join([*table, *notes])


def _optimizer_lines(plan: Plan) -> list[str]:
    """The optimizer's part of the table, aligned separately: it has a column of rules."""
    if plan.regime.optimizer is None:
        return []
    rows = optimizer_rows(plan, _names(plan))
    label, small, large = (max(len(row[column]) for row in rows) for column in range(3))
    return [f"{a:<{label}}  {b:>{small}}  {c:>{large}}  {d}" for a, b, c, d in rows]


def _size_rows(plan: Plan) -> list[_Row]:
    regime = plan.regime
    per_epoch = Fraction(plan.steps_per_epoch, plan.accumulation_steps)
    rows = [
        ("", *_names(plan)),
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
    """Where each rate starts or, for a schedule, the rate at five places."""
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
    schedule: Any = regime.rate
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
    if plan.regime.optimizer is not None and len(plan.regime.optimizer.updating) > 1:
        return f"Batch x {ratio}, the rate of each part by its rule."
    return f"Batch x {ratio}, rates x {_factor(plan.learning_rate.factor)} (rule: {name})."


def _names(plan: Plan) -> tuple[str, str]:
    """The names of the regime's batch and the plan's batch."""
    names = ("small batch", "large batch")
    return names if plan.batch >= plan.regime.batch else names[::-1]


def _warmup(plan: Plan) -> str:
    schedule: Any = plan.regime.rate
    # A schedule that rises from its first update has a warm-up of its own.
    rises = not plan.regime.drops and float(schedule(1)) > float(schedule(0))
    if not plan.warmup_updates:
        held = ", with as many updates as before" if plan.move.schedule_warmup == "updates" else ""
        return f"Warm-up: the schedule's own{held}." if rises else "No warm-up."
    start = "zero" if plan.warmup == "legw" else "the unscaled rate"
    epochs = Fraction(plan.warmup_updates * plan.accumulation_steps, plan.steps_per_epoch)
    updates = "update" if plan.warmup_updates == 1 else "updates"
    beside = ", on top of the schedule's own" if rises else ""
    return (
        f"Warm-up: {plan.warmup_updates:,} {updates} (to epoch {_number(epochs)}), "
        f"from {start} to the scaled one{beside}."
    )


def _remainder(plan: Plan) -> str:
    """How partial batches are counted, where it matters."""
    regime = plan.regime
    if regime.examples % regime.batch == 0 and regime.examples % plan.micro_batch == 0:
        return ""
    if regime.drop_remainder:
        return "Counted without each epoch's partial batch, which fit keeps of arrays."
    return "Counted with each epoch's partial batch, as fit does with arrays."


def _cost(plan: Plan) -> str:
    regime = plan.regime
    name = _names(plan)[0]
    samples = f"{_factor(Fraction(plan.samples, regime.samples))} times the {name}'s samples"
    if plan.samples == regime.samples:
        samples = f"as many samples as the {name}"
    more = plan.updates - regime.updates
    updates = "the same number of updates"
    if more:
        percent = 100 * more / regime.updates
        percent_text = f"{percent:+,.1f}%" if abs(percent) >= 0.1 else f"{percent:+.1g}%"
        updates = f"{abs(more):,} {'more' if more > 0 else 'fewer'} updates ({percent_text})"
    return f"Cost: {samples}, and {updates}."


def _use(plan: Plan) -> str:
    if plan.regime.optimizer is not None:
        return "Compile with plan.optimizer(), and give **plan.fit_arguments(x) to fit."
    accumulation = ""
    if plan.accumulation_steps > 1:
        accumulation = f" and gradient_accumulation_steps={plan.accumulation_steps}"
    return (
        f"Give plan.learning_rate{accumulation} to the optimizer, and "
        "**plan.fit_arguments(x) to fit."
    )


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
