"""How each optimizer's hyperparameters follow the batch: the table, with its sources.

The moments are the deviation and drift of a noisy trajectory, relative to the small batch's after
equally many samples: `docs/evidence/moments.md`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from keras_bigbatch._rates.scale_learning_rate import RuleName
from keras_bigbatch._serialization import is_keras
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer

# Kept in samples, by raising them to the batch ratio; or kept as they are, in updates.
Betas: TypeAlias = Literal["samples", "keep"]


@dataclass(frozen=True)
class BatchRule:
    """How an optimizer's hyperparameters change when the batch grows by a factor of `k`.

    Args:
        rate: The rule for the rate; None if no rule is good enough.
        source: Where the rule is from, or why there is none.
        allowed: Rules that may be named without a warning.
        betas: The rule for the averages' betas.
        epsilon: The epsilon is divided by `k` to this power: 1/2 if it is added to the root of a
            mean square, 1 if it is added to the mean square.
        accumulator: `initial_accumulator_value` is divided by `k` to this power.
        coupled_decay: Whether the weight decay is part of the gradient.
    """

    rate: RuleName | None
    source: str
    allowed: tuple[RuleName, ...] = ()
    betas: Betas = "keep"
    epsilon: float = 0.0
    accumulator: float = 0.0
    coupled_decay: bool = False


_MALLADI = "Malladi et al. 2022"
_ADAM = BatchRule("sqrt", _MALLADI, ("sqrt",), epsilon=0.5)

# By class name, since not every version of Keras has every class.
_TABLE: dict[str, BatchRule] = {
    "SGD": BatchRule(
        "sqrt",
        "Hoffer et al. 2017, eq. 7; the linear rule keeps a noisy trajectory's moments; the square "
        "root keeps 0.15 to 0.25 of them at 64 times the batch, and is not meant to keep them",
        ("sqrt", "linear"),
    ),
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Nadam": _ADAM,
    "Lamb": BatchRule("sqrt", "You et al. 2020", ("sqrt",), epsilon=0.5),
    "RMSprop": BatchRule("sqrt", _MALLADI, ("sqrt",), betas="samples", epsilon=1.0),
    # Its sum of squares has k times fewer terms, each k times smaller.
    "Adagrad": BatchRule(
        "none", "its sum of squares does the scaling", ("none",), epsilon=2.0, accumulator=2.0
    ),
    "Adamax": BatchRule("sqrt", "it keeps a noisy trajectory's moments", ("sqrt",), epsilon=0.5),
    "Lion": BatchRule(
        None,
        "rule='sqrt' keeps a noisy trajectory's moments up to 16 times the batch (0.94 to 1.02 of "
        "the small batch's), but not at 64 times (0.64 to 0.97)",
    ),
    "Adadelta": BatchRule(
        None,
        "rule='linear' keeps a noisy trajectory's moments up to 16 times the batch (1.04 to 1.14 "
        "of the small batch's), but not at 64 times (1.08 to 1.31)",
        epsilon=1.0,
    ),
    "Ftrl": BatchRule(
        None,
        "rule='none' keeps a noisy trajectory's moments up to 16 times the batch (0.86 to 0.92 of "
        "the small batch's), but not at 64 times (0.77 to 0.84)",
        accumulator=2.0,
    ),
    "Muon": BatchRule(None, "no tested rule has been published"),
    "Adafactor": BatchRule(None, "its rate and its betas depend on the number of updates"),
    "ScheduleFreeAdamW": BatchRule(None, "its averages depend on the number of updates"),
}
_UNKNOWN = BatchRule(None, "the class is unknown")
_LAYERWISE = BatchRule(
    "none",
    "its steps are relative to the weights, whatever the gradient noise is",
    ("none", "sqrt", "linear"),
    coupled_decay=True,
)


def batch_rule(kind: type[Any]) -> BatchRule:
    """Returns the rule of an optimizer's class.

    A custom subclass may not scale as its base does, so it has no rule for the rate. If one is
    named, the base's rules apply to the rest.
    """
    if issubclass(kind, LayerwiseOptimizer):
        return _LAYERWISE
    if is_keras(kind):
        # Not the class itself, since torch has another one of the same name.
        return _TABLE.get(kind.__name__, _UNKNOWN)
    for base in kind.__mro__:
        rule = _TABLE.get(base.__name__)
        if rule is not None and is_keras(base):
            source = f"it is a custom subclass of {base.__name__}"
            return replace(rule, rate=None, source=source, allowed=())
    return _UNKNOWN
