"""Warnings that point at the line of the user that led to them."""

import os
import sys
import warnings

import keras

_NOT_THE_USERS = tuple(
    os.path.join(os.path.dirname(os.path.abspath(path)), "") for path in (__file__, keras.__file__)
)


def warn(message: str) -> None:
    """Warns at the innermost line that is neither this package's nor Keras's.

    Subclasses and `fit` put a varying number of calls between the two.
    """
    level = 1
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
        level += 1
    warnings.warn(message, stacklevel=level)
