"""Warnings that name the line of the user's program."""

import sys
import warnings

_PASSED_OVER = ("keras", "keras_bigbatch")


def warn_user(message: str) -> None:
    """Warns at the innermost line that is neither Keras's nor this package's.

    A callback is called by Keras from within `fit`, over more frames than a number could count.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in _PASSED_OVER:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
