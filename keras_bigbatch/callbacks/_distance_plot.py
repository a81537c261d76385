"""The plot of a weight distance over log updates."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_bigbatch._measuring.axes import axes_or_new
from keras_bigbatch.diagnostics import DiffusionFit


def draw_distance(
    updates: Sequence[int], distance: Sequence[float], fit: DiffusionFit | None, ax: Any
) -> Any:
    """Draws the points and the log line of `fit` on `ax` or a new figure, and returns the axes."""
    ax = axes_or_new(ax)
    (points,) = ax.plot(updates, distance, "o", markersize=3, label="weight distance")
    if fit is not None:
        # Down to where the line meets zero: it says nothing about shorter distances.
        zero = float(np.exp(min(-fit.intercept / fit.slope, 700.0))) if fit.slope > 0 else 0.0
        ends = np.array([max(updates[0], zero), updates[-1]], np.float64)
        ax.plot(
            ends,
            fit.intercept + fit.slope * np.log(ends),
            linewidth=0.8,
            color=points.get_color(),
            label=f"{fit.intercept:.3g} + {fit.slope:.3g} ln t, R2 {fit.r2:.3f}",
        )
    ax.set_xscale("log")
    ax.set_xlabel("optimizer updates from the start")
    ax.set_ylabel("distance from the start")
    ax.legend()
    return ax
