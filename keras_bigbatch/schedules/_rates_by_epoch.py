"""The rates of a regime. Rates by epoch are an immutable mapping, which has a hash."""

import numbers
from collections.abc import Iterator, Mapping
from typing import Any

from keras_bigbatch._arguments import positive_number, shown
from keras_bigbatch._rates.learning_rates import LearningRate, checked_learning_rate
from keras_bigbatch.optimizers._optimizer_recipe import OptimizerRecipe, rate_in_updates


class RatesByEpoch(Mapping[int, float]):
    """`{epoch: rate}` in the order of the epochs. Each rate holds from its epoch on.

    Args:
        rates: A mapping of epochs to positive rates.
        epochs: How many epochs there are.

    Raises:
        ValueError: If a key is not an epoch, there is no rate for epoch 0, or a rate is not
            positive.
    """

    __slots__ = ("_rates",)

    def __init__(self, rates: Mapping[Any, Any], epochs: int) -> None:
        for epoch in rates:
            is_integer = isinstance(epoch, numbers.Integral) and not isinstance(epoch, bool)
            if not is_integer or not 0 <= epoch < epochs:
                raise ValueError(
                    "The keys of `learning_rate` must be epochs, integers from 0 to epochs - 1 = "
                    f"{epochs - 1}. Received: {shown(epoch)} in learning_rate={rates!r}."
                )
        if 0 not in rates:
            raise ValueError(
                "`learning_rate` must have a rate for epoch 0, the one training starts with. "
                f"Received: learning_rate={rates!r}."
            )
        hint = "Each entry of `{epoch: rate}` is the rate from that epoch on."
        self._rates = tuple(
            (int(epoch), positive_number(f"learning_rate[{epoch}]", rates[epoch], hint))
            for epoch in sorted(rates)
        )

    def __getitem__(self, epoch: int) -> float:
        return dict(self._rates)[epoch]

    def __iter__(self) -> Iterator[int]:
        return (epoch for epoch, _ in self._rates)

    def __len__(self) -> int:
        return len(self._rates)

    def __hash__(self) -> int:
        return hash(self._rates)

    def __repr__(self) -> str:
        return repr(dict(self._rates))


def checked_rates(
    rates: Any, epochs: int, recipe: OptimizerRecipe | None
) -> LearningRate | RatesByEpoch | None:
    """Returns a regime's `learning_rate`, or None if the optimizer's is used.

    Args:
        rates: What the caller passed.
        epochs: How many epochs there are.
        recipe: The optimizer's recipe, if there is an optimizer.

    Raises:
        ValueError: If there are no rates, rates beside a `MultiOptimizer`, or rates out of range.
    """
    if rates is None:
        if recipe is None:
            raise ValueError(
                "A regime needs a `learning_rate`, or an `optimizer` that has one. Received: "
                "neither. Pass the optimizer that you compile with at the small batch."
            )
        for each in recipe.updating:
            rate_in_updates(each)
        return None
    if recipe is not None and len(recipe.updating) > 1:
        raise ValueError(
            "`learning_rate` must be left out where the optimizer is a `MultiOptimizer`, whose "
            f"parts have their own rates. Received: learning_rate={rates!r}. Set the rates of the "
            "parts."
        )
    by_epoch = isinstance(rates, Mapping)
    return RatesByEpoch(rates, epochs) if by_epoch else checked_learning_rate(rates)
