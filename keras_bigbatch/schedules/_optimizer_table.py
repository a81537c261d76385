"""What `print(plan)` shows about the optimizer: each hyperparameter, old and new, and its rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_bigbatch._rates.learning_rates import LearningRate, LearningRateSchedule
from keras_bigbatch.optimizers._batch_move import Change, is_decay
from keras_bigbatch.optimizers._batch_rules import batch_rule
from keras_bigbatch.optimizers._optimizer_recipe import OptimizerRecipe, rate_in_updates

if TYPE_CHECKING:
    from keras_bigbatch.schedules._plan import Plan

_RULES = {"sqrt": "square root", "linear": "linear", "none": "left"}
# Label, the small recipe's cell, the large one's, and the rule.
_Row = tuple[str, str, str, str]


def optimizer_rows(plan: Plan, names: tuple[str, str]) -> list[_Row]:
    """The rows of all optimizers that make updates, each under its name.

    Args:
        plan: A plan of a regime with an optimizer.
        names: The names of the regime's batch and the plan's batch.
    """
    rows: list[_Row] = []
    for recipe in plan.regime.optimizer.updating:
        rows.append((_label(plan, recipe), *names, "rule"))
        rows.append(_rate_row(plan, recipe))
        for change in plan.move.changes(recipe):
            rows.append((change.name, _shown(change.old), _shown(change.new), change.why))
            if is_decay(recipe, change.name):
                rows += _decay_times(plan, recipe, change)
    return rows


def optimizer_notes(plan: Plan) -> list[str]:
    """Sentences on where the rates' rules come from, and what the plan does not change."""
    named = "" if plan.move.rule is None else "the rule that you named; of others "
    kinds = dict.fromkeys(each.kind for each in plan.regime.optimizer.updating)
    return [
        *(f"Rate of {kind.__name__}: {named}{batch_rule(kind).source}." for kind in kinds),
        "Outside the optimizer and left as they are: L2 in the loss (`kernel_regularizer`), and "
        f"the momentum of plain batch norm, which to the power of {plan.move.ratio:.4g} is kept in "
        "samples.",
    ]


def _label(plan: Plan, recipe: OptimizerRecipe) -> str:
    """The class and, for a part, the patterns of its variables."""
    patterns = plan.regime.optimizer.patterns_of(recipe)
    return f"{recipe.kind.__name__}{f' of {patterns}' if patterns else ''}"


def _rate_row(plan: Plan, recipe: OptimizerRecipe) -> _Row:
    rule, factor = plan.move.rule_of(recipe), plan.move.factor_of(recipe)
    name = _RULES[rule] if isinstance(rule, str) else "a function"
    rate = _rate(plan, recipe)
    if isinstance(rate, LearningRateSchedule):
        return "learning_rate", type(rate).__name__, f"x {factor:.4g}", name
    if isinstance(rate, float):
        return "learning_rate", _shown(rate), _shown(rate * factor), f"x {factor:.4g}: {name}"
    return "learning_rate", "see above", f"x {factor:.4g}", name


def _rate(plan: Plan, recipe: OptimizerRecipe) -> Any:
    """The regime's rate or, for a `MultiOptimizer`, that of the part."""
    regime = plan.regime
    return regime.rate if recipe is regime.optimizer.leading else rate_in_updates(recipe)


def _decay_times(plan: Plan, recipe: OptimizerRecipe, change: Change) -> list[_Row]:
    """`1 / (rate * decay)` at the highest rate, in updates, samples and trainings."""
    regime = plan.regime
    highest = _highest(_rate(plan, recipe), regime.updates)
    if not highest:
        return []
    small = 1 / (highest * change.old)
    large = 1 / (highest * plan.move.factor_of(recipe) * change.new)
    cells = {
        "updates": (small, large),
        "samples": (small * regime.batch, large * plan.batch),
        "trainings": (small / regime.updates, large / plan.updates),
    }
    return [
        (f"  its time in {unit}", _shown(old), _shown(new), "at the highest rate")
        for unit, (old, new) in cells.items()
    ]


def _highest(rate: LearningRate | Any, updates: int) -> float:
    if isinstance(rate, LearningRateSchedule):
        places = [updates * quarters // 4 for quarters in range(4)]
        # Where a `CosineDecay` ends its warm-up.
        places.append(getattr(rate, "warmup_steps", 0))
        return max(float(rate(place)) for place in places)
    return rate if isinstance(rate, float) else max(rate.values())


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
