"""Warnings that point at the user's line, however deep below it they are raised."""

import contextlib
import functools
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

# Their frames are not the user's: between a call of `fit` and a layer there are dozens.
_LIBRARIES = ("keras_bigbatch", "keras", "jax", "tensorflow", "torch", "wrapt")
_STANDARD = (contextlib.__file__, functools.__file__, threading.__file__)

# Keras's functions that restore a saved object or copy one.
_RESTORING = ("deserialize_keras_object", "clone_model", "compile_from_config")

# The warnings that `once` has given: the message, and the file and line it pointed at.
_given: set[tuple[str, str, int]] = set()


def warn_user(message: str, *, about: object = None, once: bool = False) -> None:
    """Warns at the innermost line of the user's code.

    Args:
        message: What is wrong, and how to fix it.
        about: An object whose own methods are skipped, such as the constructor of a user's
            subclass: the line that created the object is the one to look at.
        once: Whether to give the same message only once per line, whatever the filters are. Layers
            share a message, and the line that trains their model.
    """
    level, found = 2, sys._getframe(1)
    for depth, frame in enumerate(_frames(found), start=2):
        if not _is_library(frame) and not _is_method_of(frame, about):
            level, found = depth, frame
            break
    where = message, found.f_code.co_filename, found.f_lineno
    if once and where in _given:
        return
    warnings.warn(message, stacklevel=level)
    if once:
        _given.add(where)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Silences warnings, for an object that is only compared with one that has given them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_restored() -> bool:
    """Returns whether Keras restores or copies an object, whose first creation has warned."""
    frames = _frames(sys._getframe(1))
    return any(_is_library(frame) for frame in frames if frame.f_code.co_name in _RESTORING)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_library(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    # TensorFlow runs a copy of what it traces, from a file that is deleted afterwards.
    if file in _STANDARD or "__autograph_generated_file" in file:
        return True
    modules = (sys.modules.get(name) for name in _LIBRARIES)
    files = (getattr(module, "__file__", None) for module in modules)
    return any(path and file.startswith(os.path.dirname(path) + os.sep) for path in files)


def _is_method_of(frame: FrameType, about: Any) -> bool:
    code = frame.f_code
    if about is None or not code.co_argcount:
        return False
    return frame.f_locals.get(code.co_varnames[0]) is about
