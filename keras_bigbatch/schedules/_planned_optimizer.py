"""How a plan's optimizers differ from the regime's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras_bigbatch.optimizers._optimizer_recipe import OptimizerRecipe, rate_in_updates

if TYPE_CHECKING:
    from keras_bigbatch.schedules._plan import Plan


def planned_changes(plan: Plan, recipe: OptimizerRecipe) -> dict[str, Any]:
    """Returns the config entries that change in the plan, and the rate.

    Args:
        plan: A plan of a regime with an optimizer.
        recipe: One of the regime's optimizers that make updates.
    """
    rate, move = plan.learning_rate, plan.move
    if recipe is not plan.regime.optimizer.leading:
        own = move.paced(rate_in_updates(recipe))
        rate = move.scaled(own, move.rule_of(recipe), plan.warmup_updates, plan.warmup)
    return {**move.changed(recipe), "learning_rate": rate}
