"""How each optimizer's hyperparameters follow the batch: the table, with its sources.

The moments are those of a noisy trajectory, deviation and drift, against the small batch's at equal
samples: `docs/evidence/moments.md`.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import keras

from keras_bigbatch._rates.scale_learning_rate import RuleName
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
_NO_RULE = "no rule keeps a noisy trajectory's moments within 0.8 to 1.25"
_ADAM = BatchRule("sqrt", _MALLADI, ("sqrt",), epsilon=0.5)

# By the class's name: not every Keras has every class.
_TABLE: dict[str, BatchRule] = {
    "SGD": BatchRule(
        "sqrt",
        "Hoffer et al. 2017, eq. 7; the linear rule keeps a noisy trajectory's moments, this one "
        "is not meant to",
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
    "Lion": BatchRule(None, _NO_RULE),
    "Adamax": BatchRule(None, _NO_RULE, epsilon=0.5),
    "Adadelta": BatchRule(None, _NO_RULE),
    "Ftrl": BatchRule(None, _NO_RULE),
    "Muon": BatchRule(None, "nobody has published a rule that was tried"),
    "Adafactor": BatchRule(None, "its rate and its betas follow the count of updates"),
    "ScheduleFreeAdamW": BatchRule(None, "its averages follow the count of updates"),
}
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
    for base in kind.__mro__:
        rule = _TABLE.get(base.__name__)
        if rule is not None and getattr(keras.optimizers, base.__name__, None) is base:
            # On torch Keras's optimizers are subclasses of its own, of the same name.
            if kind.__name__ == base.__name__ and kind.__module__.startswith("keras."):
                return rule
            return BatchRule(
                None,
                f"it is a {base.__name__} of somebody's own",
                betas=rule.betas,
                epsilon=rule.epsilon,
                accumulator=rule.accumulator,
            )
    return BatchRule(None, "nobody here knows the class")
