"""How each optimizer's hyperparameters follow the batch: the table, with its sources.

The moments are those of a noisy trajectory, deviation and drift, against the small batch's at equal
samples: `docs/evidence/moments.md`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from keras_bigbatch._rates.scale_learning_rate import RuleName
from keras_bigbatch._serialization import is_keras
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer

# Kept in samples: to the power of the batches' ratio. Or kept as they are, in updates.
Betas: TypeAlias = Literal["samples", "keep"]


@dataclass(frozen=True)
class BatchRule:
    """What becomes of an optimizer's hyperparameters when the batch grows `k` times.

    Args:
        rate: The rule of the rate; None where no rule is good enough to go by.
        source: Where the rule is from, or why there is none.
        allowed: Rules that may be named without a warning.
        betas: What becomes of the averages' betas.
        epsilon: The epsilon is divided by `k` to this power: 1/2 where it is added to the root of
            a mean square, 1 where it is added to the mean square.
        accumulator: `initial_accumulator_value` is divided by `k` to this power.
        coupled_decay: Whether the weight decay is a part of the gradient.
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

# By the class's name: not every Keras has every class.
_TABLE: dict[str, BatchRule] = {
    "SGD": BatchRule(
        "sqrt",
        "Hoffer et al. 2017, eq. 7; the linear rule keeps a noisy trajectory's moments, and the "
        "square root, 0.15 to 0.25 of them at 64 times the batch, is not meant to",
        ("sqrt", "linear"),
    ),
    "Adam": _ADAM,
    "AdamW": _ADAM,
    "Nadam": _ADAM,
    "Lamb": BatchRule("sqrt", "You et al. 2020", ("sqrt",), epsilon=0.5),
    "RMSprop": BatchRule("sqrt", _MALLADI, ("sqrt",), betas="samples", epsilon=1.0),
    # Its sum of squares is of k times fewer terms, each k times smaller.
    "Adagrad": BatchRule(
        "none", "its sum of squares does the scaling", ("none",), epsilon=2.0, accumulator=2.0
    ),
    "Adamax": BatchRule("sqrt", "it keeps a noisy trajectory's moments", ("sqrt",), epsilon=0.5),
    "Lion": BatchRule(
        None,
        "rule='sqrt' keeps a noisy trajectory's moments up to 16 times the batch, 0.94 to 1.02 of "
        "the small batch's, and not at 64 times, 0.64 to 0.97",
    ),
    "Adadelta": BatchRule(
        None,
        "rule='linear' keeps a noisy trajectory's moments up to 16 times the batch, 1.04 to 1.14 "
        "of the small batch's, and not at 64 times, 1.08 to 1.31",
        epsilon=1.0,
    ),
    "Ftrl": BatchRule(
        None,
        "rule='none' keeps a noisy trajectory's moments up to 16 times the batch, 0.86 to 0.92 of "
        "the small batch's, and not at 64 times, 0.77 to 0.84",
        accumulator=2.0,
    ),
    "Muon": BatchRule(None, "nobody has published a rule that was tried"),
    "Adafactor": BatchRule(None, "its rate and its betas follow the count of updates"),
    "ScheduleFreeAdamW": BatchRule(None, "its averages follow the count of updates"),
}
_UNKNOWN = BatchRule(None, "nobody here knows the class")
_LAYERWISE = BatchRule(
    "none",
    "its steps are relative to the weights, whatever the gradients' noise is",
    ("none", "sqrt", "linear"),
    coupled_decay=True,
)


def batch_rule(kind: type[Any]) -> BatchRule:
    """The rule of an optimizer's class.

    A subclass of somebody's own is not known to move as its base does: it has no rule for the rate,
    and where one is named, the base's for the rest.
    """
    if issubclass(kind, LayerwiseOptimizer):
        return _LAYERWISE
    if is_keras(kind):
        # Not the class itself, since torch's is another of the same name.
        return _TABLE.get(kind.__name__, _UNKNOWN)
    for base in kind.__mro__:
        rule = _TABLE.get(base.__name__)
        if rule is not None and is_keras(base):
            source = f"it is somebody's own subclass of {base.__name__}"
            return replace(rule, rate=None, source=source, allowed=())
    return _UNKNOWN
