"""How fast a distance grows with the updates: log, square root or power."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from keras_bigbatch._numerics.student_t import student_t
from keras_bigbatch._typing import Array


@dataclasses.dataclass(frozen=True)
class SqrtFit:
    """The line `distance = intercept + slope * sqrt(t)`: an ordinary random walk.

    Attributes:
        slope: Distance per square root of updates.
        intercept: The line's distance at update 0.
        r2: The share of the distance's variance that the fit explains.
        slope_interval: 95 % interval of `slope`, too narrow for one trajectory (`fit_diffusion`).
    """

    slope: float
    intercept: float
    r2: float
    slope_interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class PowerFit:
    """The law `distance = factor * t ** exponent`, fitted in log space.

    Attributes:
        exponent: 0.5 is an ordinary random walk.
        factor: The law's distance at update 1.
        r2: The share of the distance's variance that the fit explains.
        exponent_interval: 95 % interval of `exponent`, too narrow for one trajectory
            (`fit_diffusion`).
    """

    exponent: float
    factor: float
    r2: float
    exponent_interval: tuple[float, float]


@dataclasses.dataclass(frozen=True)
class DiffusionFit:
    """Result of `fit_diffusion`, with `t` in optimizer updates. `print` shows it as a table.

    Attributes:
        slope: Slope of `distance = intercept + slope * ln(t)`: distance per e-fold of updates.
        intercept: The same line's distance at update 1.
        r2: The share of the distance's variance that this line explains.
        slope_interval: 95 % interval of `slope`, too narrow for one trajectory (`fit_diffusion`).
        exponent: Exponent of `distance = b * ln(t) ** exponent`, the law of Hoffer et al. With 1,
            the distance is linear in `ln(t)`.
        exponent_interval: 95 % interval of `exponent`, also too narrow for one trajectory.
        exponent_r2: The share of the distance's variance that this law explains.
        alpha: `2 / exponent`, the exponent of Hoffer et al.'s random potential.
        sqrt: The fit of `intercept + slope * sqrt(t)`, a `SqrtFit`.
        power: The fit of `factor * t ** exponent`, a `PowerFit`.
    """

    slope: float
    intercept: float
    r2: float
    slope_interval: tuple[float, float]
    exponent: float
    exponent_interval: tuple[float, float]
    exponent_r2: float
    alpha: float
    sqrt: SqrtFit
    power: PowerFit

    def __str__(self) -> str:
        rows = [
            ("a + s ln t", self.r2, "s", self.slope, self.slope_interval),
            ("b (ln t)^p", self.exponent_r2, "p", self.exponent, self.exponent_interval),
            ("a + s sqrt t", self.sqrt.r2, "s", self.sqrt.slope, self.sqrt.slope_interval),
            ("b t^p", self.power.r2, "p", self.power.exponent, self.power.exponent_interval),
        ]
        lines = [f"{'distance':<14}{'R2':>8}   parameter (95 % interval)"]
        for law, r2, name, value, (low, high) in rows:
            lines.append(f"{law:<14}{r2:>8.4f}   {name} = {value:.4g} ({low:.4g} to {high:.4g})")
        return "\n".join([*lines, f"alpha = 2 / p of (ln t)^p = {self.alpha:.4g}"])


def fit_diffusion(updates: npt.ArrayLike, distance: npt.ArrayLike) -> DiffusionFit:
    """Fits log, power-of-log, square-root and power laws to the growth of a weight distance.

    Use it on the history of a `WeightDistance`, or on any curve of distances over updates, to see
    whether the weights move away as slowly as Hoffer et al. claim. It fits, by least squares in
    float64 with equal weight for every point, `distance = intercept + slope * ln(t)`,
    `distance = b * ln(t) ** exponent` (`ln distance` against `ln ln t`),
    `distance = intercept + slope * sqrt(t)` and `distance = factor * t ** exponent` (`ln distance`
    against `ln t`).

    Each R2 is for the distance itself, even if the fit was made in log space, so you can compare
    the four. (In log space, R2 may fall below 0, which is worse than a constant.) The intervals
    assume independent residuals. Along one trajectory they are not independent, so the true
    intervals are wider. Repeat with several seeds to see by how much. Which law fits best depends
    on the batch and on the window of updates. At small batches, sqrt often beats log, and a good R2
    of the log line does not prove its mechanism.

    The paper states its law for the mean squared distance, `ln(t) ** (4 / alpha)`. Here, one run
    stands in for the mean, so `exponent = 2 / alpha`. The paper gives neither intervals nor other
    laws for comparison, and its code (bigBatch) logs only the first parameter tensor.

    Args:
        updates: Optimizer updates in increasing order, each 2 or more (`ln ln 1` is not finite),
            with at least 3 points. Early points distort the fits, so leave out about the first ten
            updates.
        distance: The distances at these updates: positive numbers, not all equal.

    Returns:
        A `DiffusionFit` of plain floats.

    Raises:
        ValueError: If the arguments differ in length, have fewer than 3 points, are not finite, or
            are out of the ranges above.

    Example:

    ```python
    import numpy as np
    import numpy.typing as npt
    import keras_bigbatch as kbb

    updates = np.array([10, 20, 50, 100, 200, 500, 1000])
    fit = kbb.diagnostics.fit_diffusion(updates, 0.5 + 3.0 * np.log(updates))
    print(fit)
    print(round(fit.slope, 6), round(fit.r2, 6))    # 3.0 1.0
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 4, equations 2 to 4
    """
    t, d = _checked(updates, distance)
    log_t, log_d = np.log(t), np.log(d)
    slope, intercept, slope_interval = _line(log_t, d)
    exponent, log_scale, exponent_interval = _line(np.log(log_t), log_d)
    root_slope, root_intercept, root_interval = _line(np.sqrt(t), d)
    power, log_factor, power_interval = _line(log_t, log_d)
    return DiffusionFit(
        slope=slope,
        intercept=intercept,
        r2=_r2(d, intercept + slope * log_t),
        slope_interval=slope_interval,
        exponent=exponent,
        exponent_interval=exponent_interval,
        exponent_r2=_r2(d, np.exp(log_scale + exponent * np.log(log_t))),
        alpha=2.0 / exponent if exponent else math.inf,
        sqrt=SqrtFit(
            slope=root_slope,
            intercept=root_intercept,
            r2=_r2(d, root_intercept + root_slope * np.sqrt(t)),
            slope_interval=root_interval,
        ),
        power=PowerFit(
            exponent=power,
            factor=math.exp(log_factor),
            r2=_r2(d, np.exp(log_factor + power * log_t)),
            exponent_interval=power_interval,
        ),
    )


def _checked(updates: npt.ArrayLike, distance: npt.ArrayLike) -> tuple[Array, Array]:
    t, d = np.asarray(updates, np.float64), np.asarray(distance, np.float64)
    if t.ndim != 1 or t.shape != d.shape:
        raise ValueError(
            "`updates` and `distance` must be flat and of the same length. "
            f"Received: shapes {t.shape} and {d.shape}."
        )
    if len(t) < 3:
        raise ValueError(
            f"The fits need 3 points or more. Received: {len(t)}. Train longer, or measure more "
            "often."
        )
    if not (np.isfinite(t).all() and np.isfinite(d).all()):
        raise ValueError(
            "`updates` and `distance` must be finite. Received: "
            f"{int((~np.isfinite(t)).sum())} and {int((~np.isfinite(d)).sum())} values that are "
            "not. Cut the curve where the training diverged."
        )
    if (np.diff(t) <= 0).any() or t[0] < 2:
        raise ValueError(
            "`updates` must increase and be 2 or more, since the fits take ln(ln(t)). "
            f"Received: updates={t.tolist()[:5]}... Sort them and leave out the first."
        )
    if d.min() <= 0 or d.min() == d.max():
        raise ValueError(
            "`distance` must be positive and must change. Received: values from "
            f"{d.min()} to {d.max()}. Leave out the points before the weights moved."
        )
    return t, d


def _line(x: Array, y: Array) -> tuple[float, float, tuple[float, float]]:
    """Returns the least-squares line's slope, intercept and 95 % interval of the slope."""
    freedom = len(x) - 2
    deviation = x - x.mean()
    spread = float(deviation @ deviation)
    slope = float(deviation @ (y - y.mean())) / spread
    intercept = float(y.mean() - slope * x.mean())
    residual = y - (intercept + slope * x)
    error = math.sqrt(float(residual @ residual) / freedom / spread)
    half = student_t(freedom) * error
    return slope, intercept, (slope - half, slope + half)


def _r2(observed: Array, fitted: Array) -> float:
    around_fit = float(((observed - fitted) ** 2).sum())
    return 1.0 - around_fit / float(((observed - observed.mean()) ** 2).sum())
