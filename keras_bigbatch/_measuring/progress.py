"""What a measurement shows of its progress."""

import sys
from types import TracebackType
from typing import Any, Self

import keras

from keras_bigbatch._typing import Verbose


class Progress:
    """Keras's progress bar, with the time left, as a context whose end is the end of the line.

    A search may be over before it has made all the steps that it was allowed, or raise.

    Args:
        steps: The steps, or the most that there may be: what the time left is counted to. None if
            nobody knows.
        verbose: `"auto"`, 0, 1 or 2, as in `fit`. `"auto"` is 1 where somebody looks on.
        unit: What a step is, in one word.
    """

    def __init__(self, steps: int | None, verbose: Verbose, unit: str) -> None:
        verbose = checked_verbose(verbose)
        if verbose == "auto":
            verbose = 1 if _somebody_looks_on() else 0
        self._bar = keras.utils.Progbar(steps, verbose=verbose, unit_name=unit)
        self._made = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._made:
            self._bar.update(self._made, finalize=True)

    def update(self, made: int) -> None:
        """Shows how many steps have been made."""
        self._made = made
        self._bar.update(made, finalize=False)

    def add(self) -> None:
        """Shows that one more step has been made."""
        self.update(self._made + 1)


def checked_verbose(verbose: Any) -> Verbose:
    """Returns `"auto"`, 0, 1 or 2, or raises a `ValueError`."""
    levels: tuple[Verbose, ...] = ("auto", 0, 1, 2)
    for level in levels:
        if isinstance(verbose, str | int) and verbose == level:
            return level
    raise ValueError(
        f"`verbose` must be 'auto', 0, 1 or 2. Received: verbose={verbose!r}. 0 shows nothing."
    )


def _somebody_looks_on() -> bool:
    """At a terminal, or at a notebook, whose output is not one; a log is left clean."""
    if not keras.config.is_interactive_logging_enabled():
        return False
    is_notebook = type(sys.stdout).__module__.startswith("ipykernel.")
    # Without a console there is no output at all.
    return is_notebook or (sys.stdout is not None and sys.stdout.isatty())
