"""Whether the compiled optimizer is the plan's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from keras_bigbatch._rates.learning_rate_scaler import LearningRateScaler
from keras_bigbatch._rates.learning_rates import LearningRateSchedule, learning_rate_key
from keras_bigbatch.optimizers._optimizer_recipe import OptimizerRecipe, recipe_of
from keras_bigbatch.schedules._planned_optimizer import planned_changes

if TYPE_CHECKING:
    from keras_bigbatch.schedules._plan import Plan

# `compile` sets the second.
_NO_MATTER = ("name", "loss_scale_factor", "gradient_accumulation_steps")


def differences(plan: Plan, optimizer: Any, check_rate: bool) -> list[str]:
    """Says how the compiled optimizer differs from the plan's. Wrappers do not matter.

    Args:
        plan: A plan of a regime with an optimizer.
        optimizer: The compiled optimizer.
        check_rate: Whether to compare the rates.
    """
    planned = plan.regime.optimizer.updating
    try:
        compiled = recipe_of(optimizer).updating
    except ValueError:
        return [f"{type(optimizer).__name__} instead of {_names(planned)}"]
    if [each.kind for each in compiled] != [each.kind for each in planned]:
        return [f"{_names(compiled)} instead of {_names(planned)}"]
    found = []
    for own, regimes in zip(compiled, planned, strict=True):
        config = {**regimes.config, **planned_changes(plan, regimes)}
        rate = config.pop("learning_rate")
        found += [
            f"{name}={own.config.get(name)} instead of {value}"
            for name, value in config.items()
            if name not in _NO_MATTER and not _alike(own.config.get(name), value)
        ]
        if check_rate and not _same_rate(own.learning_rate, rate):
            number = isinstance(own.learning_rate, float)
            found.append(f"learning_rate={own.learning_rate}" if number else "another schedule")
    return found


def _alike(value: Any, planned: Any) -> bool:
    """Whether two values agree, also to the four digits of the table."""
    numbers = all(isinstance(each, int | float) for each in (value, planned))
    return math.isclose(value, planned, rel_tol=1e-3) if numbers else bool(value == planned)


def _same_rate(rate: Any, planned: Any) -> bool:
    if isinstance(rate, float):
        return math.isclose(rate, only_rate(planned), rel_tol=1e-3)
    if not isinstance(rate, LearningRateSchedule):
        return True  # a function may be intended
    return learning_rate_key(rate) == learning_rate_key(planned)


def _names(recipes: tuple[OptimizerRecipe, ...]) -> str:
    return ", ".join(each.kind.__name__ for each in recipes)


def only_rate(rate: LearningRateScaler) -> float:
    """The rate of all updates, or NaN if it changes."""
    constant = isinstance(rate.learning_rate, float) and not rate.warmup_updates
    return rate.learning_rate * rate.factor if constant else math.nan
