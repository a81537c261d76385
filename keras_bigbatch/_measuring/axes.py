"""The axes that a `.plot()` draws on."""

from typing import Any


def axes_or_new(ax: Any) -> Any:
    """Returns the caller's axes, or the axes of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("A plot needs matplotlib. Install it: pip install matplotlib.") from error
    return plt.figure().add_subplot()
