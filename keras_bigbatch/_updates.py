"""The optimizer inside its wrappers, and how many updates it has made."""

from typing import Any


def inner_optimizer(optimizer: Any) -> Any:
    """Returns the optimizer that makes the update, inside any `LossScaleOptimizer` and the like."""
    while hasattr(optimizer, "inner_optimizer"):
        optimizer = optimizer.inner_optimizer
    return optimizer


def steps_an_update(optimizer: Any) -> int:
    """Returns the `gradient_accumulation_steps`, or 1."""
    return getattr(inner_optimizer(optimizer), "gradient_accumulation_steps", None) or 1


def updates_made(optimizer: Any) -> int:
    """Returns the number of updates: fewer than steps with accumulation or skipped steps."""
    # The sum is a tensor; `int` refuses TensorFlow's variables with replicas.
    return int(optimizer.iterations + 0)
