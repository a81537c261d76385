"""Where a `.plot()` draws."""

from typing import Any


def axes_or_new(ax: Any) -> Any:
    """The caller's axes, or those of a new figure."""
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("A plot needs matplotlib. Install it: pip install matplotlib.") from error
    return plt.figure().add_subplot()
