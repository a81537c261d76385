"""How the spread of the loss around the weights grows with the distance from them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._measuring.axes import axes_or_new
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._typing import Array, Mode, Verbose


@dataclasses.dataclass(frozen=True)
class RandomPotential:
    """Result of `random_potential`: one value per bin of distances, and the law fitted to them.

    Attributes:
        distance: Root mean square distance of the draws in each bin.
        deviation: Root mean square of `loss(w) - loss(w0)` in each bin, the paper's equation 8.
        spread: Standard deviation about the bin's mean. This leaves out the mean rise.
        alpha: Twice the slope of `ln(deviation)` over `ln(distance)` in the fitted range.
        alpha_error: The standard error of `alpha`, from the scatter of the bins about the line.
        spread_alpha: The same as `alpha`, but for `spread`. NaN if a spread is zero.
        fit_range: The range of distances in which bins were fitted. The upper end is
            `max_distance`.
        first_order: `|gradient| / sqrt(weights)`. Near w0, the deviation is this times the
            distance.
        draws: Distance and loss difference of each draw, with shape `(draws, 2)`.
    """

    distance: Array
    deviation: Array
    spread: Array
    alpha: float
    alpha_error: float
    spread_alpha: float
    fit_range: tuple[float, float]
    first_order: float
    draws: Array

    def __str__(self) -> str:
        columns = ("distance", "deviation", "spread", "first order")
        rows = zip(self.distance, self.deviation, self.spread, strict=True)
        lines = ["".join(f"{name:>13}" for name in columns)]
        for distance, deviation, spread in rows:
            row = (distance, deviation, spread, distance * self.first_order)
            lines.append("".join(f"{value:>13.4g}" for value in row))
        low, high = self.fit_range
        lines.append(
            f"alpha {self.alpha:.3f} +- {self.alpha_error:.2g} (of the spread "
            f"{self.spread_alpha:.3f}) from distance {low:.3g} to {high:.3g}"
        )
        return "\n".join(lines)

    def binned(self, bins: int, fit_from: float | None = None) -> "RandomPotential":
        """Returns the result for other bins or another fitted range, from the same draws."""
        first, max_distance = self.fit_range
        first = first if fit_from is None else fit_from
        return _binned(self.draws, max_distance, bins, first, self.first_order)

    def plot(self, ax: Any = None) -> Any:
        """Plots the deviation over the distance on log axes, with the fit, and returns the axes."""
        ax = axes_or_new(ax)
        ax.loglog(self.distance, self.deviation, "o", markersize=4, label="deviation")
        fitted = self.distance >= self.fit_range[0]
        log_distance, log_deviation = np.log(self.distance[fitted]), np.log(self.deviation[fitted])
        rise = self.alpha / 2 * (log_distance - log_distance.mean())
        line = np.exp(log_deviation.mean() + rise)
        ax.loglog(self.distance[fitted], line, label=f"alpha = {self.alpha:.2f}")
        tangent = self.first_order * self.distance
        ax.loglog(self.distance, tangent, ":", linewidth=0.8, label="first order")
        ax.set_xlabel("distance from the weights")
        ax.set_ylabel("deviation of the loss")
        ax.legend()
        return ax


def random_potential(
    model: keras.Model,
    x: Any,
    y: Any = None,
    max_distance: float = 10.0,
    draws: int = 1000,
    *,
    bins: int = 20,
    fit_from: float | None = None,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: Mode = "inference",
    seed: int = 0,
    verbose: Verbose = "auto",
) -> RandomPotential:
    """Measures how the spread of the loss at random points grows with distance from the weights.

    Use it on a freshly initialized model to test the theory of Hoffer et al., a random walk on a
    random potential. If `E (loss(w) - loss(w0))^2` grows as `|w - w0|^alpha`, the distance of the
    weights grows as `ln(t) ^ (2 / alpha)`, which `fit_diffusion` measures. A draw is `w = w0 + z v`
    with a uniformly random direction `v` and `z` uniform from 0 to `max_distance`. In each bin of
    distances, the deviation is equation 8, `sqrt(mean of (loss(w) - loss(w0))^2)`, and `alpha` is
    twice its log-log slope by least squares. Keep three things in mind:

    - Near w0, any differentiable loss is linear and alpha is 2. Bins below `fit_from` are left out.
      If deviations still follow `.first_order`, an alpha of 2 says nothing.
    - In theory, the potential does not rise on average. A real loss does, and near a minimum alpha
      approaches 4, as in any quadratic bowl. `.spread` and `.spread_alpha` leave out the mean.
    - At initialization, batch norm's stored statistics are not those of the data, so use
      `mode="training"` there. The paper does not say which it used.

    Unlike in the paper, the slope is fitted. The model is not changed.

    Args:
        model: A compiled `keras.Model` that has weights.
        x: As in `fit`: arrays, or a data set that yields the same samples in each pass.
        y: As in `fit`, if `x` is arrays.
        max_distance: The largest distance. The paper uses the distance that training reaches, about
            10.
        draws: Number of random points, each a pass over the data.
        bins: Number of bins of equal width. Bins with fewer than two draws are left out.
        fit_from: Smallest distance that is fitted. None means a tenth of `max_distance`.
        sample_weight: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None.
        mode: `"inference"`: norm layers use stored statistics. `"training"`: those of each batch.
        seed: Seed of the distances and directions.
        verbose: 1 for a progress bar over draws, 0 for none. `"auto"`: in a terminal or notebook.

    Returns:
        A `RandomPotential`. Its `.binned(bins)` gives other bins from the same draws.

    Raises:
        ValueError: If an argument is invalid, the model is not compiled or has no weights, fewer
            than 3 bins could be fitted, or a loss is not finite or is the same everywhere.

    Example:

    ```python
    import keras, numpy as np, keras_bigbatch as kbb
    x = np.random.default_rng(0).normal(size=(64, 4))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    print(kbb.diagnostics.random_potential(model, x, np.sin(x.sum(1)), 2.0, draws=100, bins=5))
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 3, equation 8, figure 4
    """
    max_distance = positive_number("max_distance", max_distance, "It is a norm of weights.")
    draws = positive_integer("draws", draws, "It is the number of passes over the data.")
    random = np.random.default_rng(seed)
    distances = random.uniform(0, max_distance, draws)
    if fit_from is None:
        fit_from = max_distance / 10
    _bins_of(distances, max_distance, bins, fit_from)
    loss = DatasetLoss(model, Batches(x, y, sample_weight, batch_size), mode)
    weights = loss.weights
    _, gradient = loss.gradient(weights)
    at_weights = _finite(loss.loss(weights), 0.0)
    differences = np.empty(draws)
    with Progress(draws, verbose, "draw") as progress:
        for draw, distance in enumerate(distances):
            direction = random.standard_normal(loss.size, loss.dtype)
            direction *= distance / np.linalg.norm(direction)
            differences[draw] = _finite(loss.loss(weights + direction), distance) - at_weights
            progress.update(draw + 1)
    first_order = float(np.linalg.norm(gradient)) / math.sqrt(loss.size)
    both = np.stack([distances, differences], axis=1)
    return _binned(both, max_distance, bins, fit_from, first_order)


def _binned(
    draws: Array, max_distance: float, bins: int, fit_from: float, first_order: float
) -> RandomPotential:
    distances, differences = draws.T
    members, fitted = _bins_of(distances, max_distance, bins, fit_from)
    distance = _root_mean_square(distances, members)
    deviation = _root_mean_square(differences, members)
    spread = np.array([np.std(differences[rows], ddof=1) for rows in members])
    if not deviation.all():
        raise ValueError(
            "The loss must change with the weights. Received: the same loss at all points of a "
            "distance. Use a larger max_distance, or check the model with `model.evaluate`."
        )
    slope, error = _log_slope(distance[fitted], deviation[fitted])
    spread_slope, _ = _log_slope(distance[fitted], spread[fitted])
    return RandomPotential(
        distance=distance,
        deviation=deviation,
        spread=spread,
        alpha=2 * slope,
        alpha_error=2 * error,
        spread_alpha=2 * spread_slope,
        fit_range=(float(fit_from), float(max_distance)),
        first_order=first_order,
        draws=draws,
    )


def _bins_of(
    distances: Array, max_distance: float, bins: int, fit_from: float
) -> tuple[list[npt.NDArray[np.intp]], npt.NDArray[np.bool_]]:
    """Returns the draws of each bin with two or more, and which of these bins are fitted."""
    bins = positive_integer("bins", bins, "It is the number of bins, about 20.")
    fit_from = positive_number("fit_from", fit_from, "It is a distance.", zero_allowed=True)
    numbers = np.minimum((distances / max_distance * bins).astype(int), bins - 1)
    members = [np.flatnonzero(numbers == number) for number in range(bins)]
    members = [rows for rows in members if len(rows) > 1]
    fitted = _root_mean_square(distances, members) >= fit_from
    if fitted.sum() < 3:
        raise ValueError(
            "A slope needs 3 or more bins with 2 or more draws each. Received: "
            f"{int(fitted.sum())} such bins of bins={bins} with {len(distances)} draws from "
            f"fit_from={fit_from} to max_distance={max_distance}. Use more draws or bins, or "
            "start the fit earlier."
        )
    return members, fitted


def _root_mean_square(values: Array, members: Sequence[npt.NDArray[np.intp]]) -> Array:
    return np.array([math.sqrt(np.mean(values[rows] ** 2)) for rows in members])


def _log_slope(distance: Array, deviation: Array) -> tuple[float, float]:
    """Returns the slope of the line in log-log, and its standard error."""
    if not deviation.all():
        return math.nan, math.nan
    x, y = np.log(distance), np.log(deviation)
    x, y = x - x.mean(), y - y.mean()
    slope = float(x @ y / (x @ x))
    residual = y - slope * x
    return slope, math.sqrt(float(residual @ residual) / (len(x) - 2) / float(x @ x))


def _finite(loss: float, distance: float) -> float:
    if not math.isfinite(loss):
        raise ValueError(
            f"The loss is not finite at a distance of {distance:.4g}. Received: {loss}. Use a "
            'smaller max_distance; for batch norm try mode="training".'
        )
    return loss
