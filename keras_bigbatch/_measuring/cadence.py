"""At which optimizer updates a callback measures."""

import math
import sys
from typing import Any, Literal

from keras_bigbatch._arguments import positive_integer
from keras_bigbatch._typing import Frequency

_POINTS_A_DECADE = 10
_WORDS: tuple[Literal["log", "epoch"], ...] = ("log", "epoch")

NEVER = sys.maxsize


def checked_frequency(frequency: Any) -> Frequency:
    """Returns `"log"`, `"epoch"` or a positive `int`, or raises a `ValueError`."""
    for word in _WORDS:
        if isinstance(frequency, str) and frequency == word:
            return word
    return positive_integer(
        "frequency",
        frequency,
        "Pass 'log' for about 10 measurements per decade of updates, 'epoch' for the ends of "
        "epochs only, or a number of optimizer updates.",
    )


def next_measurement(frequency: Frequency, updates: int, origin: int = 0) -> int:
    """Returns the first update after `updates` to measure at, or `NEVER` for epoch ends only.

    `"log"` means 1, 2, ..., 10, 13, 16, 20, ... updates after `origin`: from 10 on,
    `10 ** (i / 10)` rounded. An integer n means n, 2n, and so on, whatever `origin` is.
    """
    if frequency == "epoch":
        return NEVER
    if isinstance(frequency, int):
        return (updates // frequency + 1) * frequency
    updates -= origin
    if updates < 10:
        return origin + updates + 1
    # The logarithm may be off by a rounding: start a point early and step past `updates`.
    point = max(int(_POINTS_A_DECADE * math.log10(updates)) - 1, 0)
    while round(10 ** (point / _POINTS_A_DECADE)) <= updates:
        point += 1
    return origin + round(10 ** (point / _POINTS_A_DECADE))
