"""The progress bar of a measurement."""

import sys
from types import TracebackType
from typing import Any, Self

import keras

from keras_bigbatch._typing import Verbose


class Progress:
    """Keras's progress bar, with the time left, as a context manager that ends its line.

    A search may raise, or end before it has used all its steps.

    Args:
        steps: The number of steps, or its upper limit, for the estimate of the time left. None if
            unknown.
        verbose: `"auto"`, 0, 1 or 2, as in `fit`. `"auto"` is 1 in a terminal or a notebook.
        unit: The name of a step, in one word.
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
        """Shows how many steps are done."""
        self._made = made
        self._bar.update(made, finalize=False)

    def add(self) -> None:
        """Shows that one more step is done."""
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
    """Whether output goes to a terminal or a notebook. Logs are left clean."""
    if not keras.config.is_interactive_logging_enabled():
        return False
    is_notebook = type(sys.stdout).__module__.startswith("ipykernel.")
    # Without a console there is no output at all.
    return is_notebook or (sys.stdout is not None and sys.stdout.isatty())
