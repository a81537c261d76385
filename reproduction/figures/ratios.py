"""Ratios by seed, of what a training that diverged may not have."""

import math

from reproduction.statistics import by_arm


def ratio(value, other):
    """How many times `other` a value is; NaN unless both are positive numbers.

    Args:
        value: A number, or None, which a kept result has for what is not finite.
        other: The same.
    """
    positive = all(each is not None and each > 0 for each in (value, other))
    return value / other if positive else math.nan


def ratios(results, key, arm, other):
    """By seed how many times that of `other` the `key` of `arm` is."""
    values = by_arm(results, key)
    return [ratio(*pair) for pair in zip(values[arm], values[other], strict=True)]
