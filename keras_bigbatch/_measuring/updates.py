"""How many updates a model's optimizer has made."""

from typing import Any


def updates_made(model: Any) -> int:
    """Updates, which under accumulation or skipped steps are fewer than steps."""
    # The sum is a tensor; `int` refuses TensorFlow's variables that have replicas.
    return int(model.optimizer.iterations + 0)


def steps_an_update(model: Any) -> int:
    """The optimizer's `gradient_accumulation_steps`, or 1."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return getattr(optimizer, "gradient_accumulation_steps", None) or 1
