"""Argument checks that say what was passed, what is allowed and how to fix it."""

import math
import numbers
import re
import reprlib
from collections.abc import Collection
from typing import Any, TypeVar

_Choice = TypeVar("_Choice", bound=str)

_cut = reprlib.Repr()
_cut.maxlevel = 1  # a list inside a list is only hinted at


def shown(value: Any) -> str:
    """Returns a received value as a message shows it; of an array, only its type and shape."""
    shape = None if isinstance(value, type) else getattr(value, "shape", None)
    if shape is not None and tuple(shape) != ():
        return f"{type(value).__name__} of shape {tuple(shape)}"
    long = isinstance(value, list | tuple | set | bytes | dict)
    return _cut.repr(value) if long else repr(value)


def positive_integer(name: str, value: Any, hint: str, *, zero_allowed: bool = False) -> int:
    """Returns `value` as an `int`, or raises a `ValueError` that names the argument.

    Args:
        name: The argument's name.
        value: What the caller passed. NumPy integers are accepted, booleans and floats are not.
        hint: What the argument means or how to fix it; the end of the message.
        zero_allowed: Whether 0 is allowed too.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        integer = int(value)
        if integer > 0 or (zero_allowed and integer == 0):
            return integer
    kind = "an integer of 0 or more" if zero_allowed else "a positive integer"
    raise ValueError(f"`{name}` must be {kind}. Received: {name}={shown(value)}. {hint}")


def at_least_two(name: str, value: Any, hint: str) -> int:
    """Does the same for a number of draws, since a single draw says nothing about the error."""
    integer = positive_integer(name, value, hint)
    if integer < 2:
        raise ValueError(
            f"`{name}` must be 2 or more, to know the error. Received: {name}={integer}. {hint}"
        )
    return integer


def positive_number(name: str, value: Any, hint: str, *, zero_allowed: bool = False) -> float:
    """Returns `value` as a finite `float`, or raises a `ValueError` that names the argument."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        if math.isfinite(number) and (number > 0 or (zero_allowed and number == 0)):
            return number
    kind = "a finite number of 0 or more" if zero_allowed else "a positive, finite number"
    raise ValueError(f"`{name}` must be {kind}. Received: {name}={shown(value)}. {hint}")


def one_of(name: str, value: Any, allowed: Collection[_Choice], hint: str = "") -> _Choice:
    """Returns `value` if it is one of the strings in `allowed`, else raises a `ValueError`."""
    for choice in allowed:
        if isinstance(value, str) and value == choice:
            return choice
    choices = ", ".join(repr(choice) for choice in allowed)
    raise ValueError(
        f"`{name}` must be one of {choices}. Received: {name}={shown(value)}. {hint}".strip()
    )


def boolean(name: str, value: Any) -> bool:
    """Returns `value` if it is True or False, else raises a `ValueError`."""
    if not isinstance(value, bool):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={shown(value)}.")
    return value


def patterns(name: str, value: Any, hint: str) -> tuple[str, ...]:
    """Returns a sequence of regular expressions as a tuple, or raises a `ValueError`."""
    # A single string would be read as a sequence of letters.
    if isinstance(value, str) or not all(isinstance(each, str) for each in value):
        raise ValueError(
            f"`{name}` must be a sequence of regular expressions. Received: {name}={shown(value)}. "
            f"For a single one, write `{name}=('bias',)`; {hint}"
        )
    for pattern in value:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(
                f"`{name}` must be regular expressions, but {pattern!r} is invalid ({error}). "
                "Escape special characters with `re.escape`."
            ) from error
    return tuple(value)
