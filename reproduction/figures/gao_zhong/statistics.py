"""What the figures of Gao & Zhong have in common: power laws, roughness, differences by seed."""

import math
import statistics

from reproduction.report import cell
from reproduction.statistics import by_arm


def exponent(x, y):
    """The p of `y ~ x ** p`: the slope of the logarithms, by least squares.

    NaN where a value is not a positive number: it has no logarithm.
    """
    if any(not number(value) > 0 for value in y):
        return math.nan
    return statistics.linear_regression(list(map(math.log, x)), list(map(math.log, y))).slope


def roughness(series):
    """The standard deviation of independent noise on a smooth curve, from second differences.

    A second difference has (1 + 4 + 1) times the noise's variance, and next to nothing of the
    curve. NaN for a curve of fewer than three points.
    """
    triples = zip(series, series[1:], series[2:], strict=False)
    seconds = [before - 2 * here + after for before, here, after in triples]
    if not seconds:
        return math.nan
    return math.sqrt(statistics.fmean(value**2 for value in seconds) / 6)


def number(value):
    """A value of a kept result: None, which JSON has for what is not finite, is NaN."""
    return math.nan if value is None else value


def batches_in(results):
    """The batches of results, ascending."""
    return sorted({result["batch"] for result in results})


def by_seed(results):
    """The results of each seed, in the order of their batches."""
    seeds = sorted({result["seed"] for result in results})
    ordered = sorted(results, key=lambda result: result["batch"])
    return [[result for result in ordered if result["seed"] == seed] for seed in seeds]


def gains(results, key, arm, other):
    """By seed how many percentage points `key`, a share, is higher in `arm` than in `other`."""
    values = by_arm(results, key)
    pairs = zip(values[arm], values[other], strict=True)
    return [100 * (number(a) - number(b)) for a, b in pairs]


def shown(values, form="{:.2f}"):
    """The text of a table's cell, a dash where a value is not finite."""
    return cell(values, form) if all(map(math.isfinite, values)) else "-"


def finite(x, values):
    """The places and values where those of all seeds are finite, for drawing."""
    kept = [i for i, each in enumerate(values) if all(map(math.isfinite, each))]
    return [x[i] for i in kept], [values[i] for i in kept]
