"""The largest value of a function in a box around zero, from many starts."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from keras_bigbatch._typing import Array

Maximizer: TypeAlias = Literal["ascent", "l-bfgs-b"]

# A run has converged when the gradient promises less than this share of the gain so far. Two maxima
# count as the same when they differ by less than this share.
_TOLERANCE = 1e-3
# The step at which the ascent gives up, as a share of the box.
_SMALLEST_STEP = 2.0**-20


@dataclasses.dataclass(frozen=True)
class Maximum:
    """Result of `maximize_in_box`.

    Attributes:
        value: The largest value seen.
        maximizer: The name of the maximizer that found it.
        converged: Whether as many starts as requested reached this value.
        evaluations: Number of calls of the function.
        found: The largest value of each run, by maximizer.
    """

    value: float
    maximizer: Maximizer
    converged: bool
    evaluations: int
    found: dict[Maximizer, tuple[float, ...]]


def maximize_in_box(
    evaluate: Callable[[Array], tuple[float, Array]],
    bounds: Array,
    value_at_zero: float,
    *,
    maximizers: Sequence[Maximizer],
    starts: int,
    max_evaluations: int,
    seed: int,
    on_evaluation: Callable[[int], Any] | None = None,
) -> Maximum:
    """Runs the maximizers in turn, each time from another random point of the box.

    A run may use its even share of the evaluations, computed for `starts` runs of each maximizer. A
    run that converges earlier leaves the rest to further starts. The search ends when all
    evaluations are used, or when `starts` converged runs have reached the largest value and each
    maximizer has had a run.

    Starts are uniform in the box: a start at zero would stay there where zero is a minimum.

    Args:
        evaluate: Returns the value and the gradient at a point.
        bounds: Half the box's width along each coordinate, 0 or more.
        value_at_zero: The value from which gains are counted.
        maximizers: Keys of `MAXIMIZERS`.
        starts: Number of runs that must agree, and the least number per maximizer if they do not.
        max_evaluations: Maximum number of calls, `2 * starts` or more for each maximizer.
        seed: Seed of the starts.
        on_evaluation: Called with the number of calls so far.
    """
    random = np.random.default_rng(seed)
    share = max_evaluations // (len(maximizers) * starts)
    runs: list[tuple[Maximizer, _Run]] = []
    used = 0
    for name in itertools.cycle(maximizers):
        budget = min(share, max_evaluations - used)
        run = _Run(evaluate, bounds, value_at_zero, budget, used, on_evaluation)
        with contextlib.suppress(_RunEnded):
            MAXIMIZERS[name](run, random.uniform(-bounds, bounds), bounds)
        used += run.evaluations
        runs.append((name, run))
        best = max(run.best for _, run in runs)
        enough = best - _TOLERANCE * max(best - value_at_zero, 0.0)
        agreed = sum(run.converged and run.best >= enough for _, run in runs) >= starts
        if used == max_evaluations or (agreed and len(runs) >= len(maximizers)):
            break
    found = {name: tuple(run.best for by, run in runs if by == name) for name in maximizers}
    winner = max(found, key=lambda name: max(found[name], default=-np.inf))
    return Maximum(best, winner, agreed, used, found)


class _RunEnded(Exception):  # noqa: N818 - it is not an error
    """Ends a run that has converged or used its evaluations: SciPy has no other way out."""


class _Run:
    """The function as one run sees it: counted, limited, and stopped where it has converged."""

    def __init__(
        self,
        evaluate: Callable[[Array], tuple[float, Array]],
        bounds: Array,
        value_at_zero: float,
        budget: int,
        used_before: int,
        on_evaluation: Callable[[int], Any] | None,
    ) -> None:
        self._evaluate = evaluate
        self._bounds = bounds
        self._used_before = used_before
        self._on_evaluation = on_evaluation
        self.value_at_zero = value_at_zero
        self.budget = budget
        self.evaluations = 0
        self.best = -np.inf
        self.converged = False

    def __call__(self, point: Array) -> tuple[float, Array]:
        if self.evaluations == self.budget:
            raise _RunEnded
        value, gradient = self._evaluate(point)
        self.evaluations += 1
        if self._on_evaluation is not None:
            self._on_evaluation(self._used_before + self.evaluations)
        self.best = max(self.best, value)
        # The most that the tangent plane gains within the box.
        promised = float(np.abs(gradient) @ self._bounds - gradient @ point)
        gained = value - self.value_at_zero
        if value == self.best and promised <= max(_TOLERANCE * gained, 0.0):
            self.converged = True
            raise _RunEnded
        if not gradient.any():
            raise _RunEnded
        return value, gradient


def _signed_ascent(run: _Run, point: Array, bounds: Array) -> None:
    """Steps along the signs of the gradient, clipped to the box and halved where they lead down.

    The first step is as long as the box is wide and ends in a corner, where a convex function is
    largest.
    """
    value, gradient = run(point)
    step = 1.0
    while step > _SMALLEST_STEP:
        trial = np.clip(point + 2 * step * bounds * np.sign(gradient), -bounds, bounds)
        trial_value, trial_gradient = run(trial)
        if trial_value > value:
            point, value, gradient = trial, trial_value, trial_gradient
            step = min(1.0, 2 * step)
        else:
            step /= 2


def _l_bfgs_b(run: _Run, point: Array, bounds: Array) -> None:
    """SciPy's L-BFGS-B, scaled so that its first step is as long as the box.

    Maximizing a convex function gives it no curvature to learn from, so its steps stay as long as
    the first. Unscaled, that step is the gradient, and on a very flat loss the search would go
    nowhere.
    """
    from scipy import optimize  # type: ignore[import-untyped,unused-ignore]

    scale = 0.0

    def descent(point: Array) -> tuple[float, Array]:
        nonlocal scale
        value, gradient = run(point)
        scale = scale or float(np.linalg.norm(bounds) / np.linalg.norm(gradient))
        return -scale * (value - run.value_at_zero), -scale * gradient

    optimize.minimize(
        descent,
        point,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(-bounds, bounds),
        # The run decides when to stop.
        options={"maxiter": run.budget, "maxfun": run.budget, "ftol": 0.0, "gtol": 0.0},
    )


MAXIMIZERS: dict[Maximizer, Callable[[_Run, Array, Array], None]] = {
    "ascent": _signed_ascent,
    "l-bfgs-b": _l_bfgs_b,
}
