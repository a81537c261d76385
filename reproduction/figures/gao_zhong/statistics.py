"""What the figures of Gao & Zhong have in common: power laws, and differences between arms."""

import math
import statistics

from reproduction.report import cell
from reproduction.statistics import by_arm, difference, mean_and_noise, one_seed

# An exponent this close to the predicted one counts as it: of -1/2 it is an eighth.
TOLERANCE = 0.06


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


def paired(results, key, arm, other):
    """How much `key` is larger in `arm` than in `other`, seed by seed, with its noise."""
    values = by_arm(results, key)
    return mean_and_noise([a - b for a, b in zip(values[arm], values[other], strict=True)])


def points(results, arm, other):
    """Points of test accuracy that `arm` is above `other`, and whether that is beyond noise."""
    gain, noise = difference(results, arm, other, results[0]["scored"])
    return gain, noise, abs(gain) > noise


def text(mean, noise, form="{:+.2f}"):
    """As in "-0.48 ± 0.02"; no noise where none is known."""
    if math.isnan(mean):
        return "unknown"
    return form.format(mean) + (f" ± {form.format(noise).lstrip('+')}" if noise else "")


def shown(values, form="{:.2f}"):
    """The text of a table's cell, a dash where a value is not finite."""
    return cell(values, form) if all(map(math.isfinite, values)) else "-"


def finite(x, values):
    """The places and values where those of all seeds are finite, for drawing."""
    kept = [i for i, each in enumerate(values) if all(map(math.isfinite, each))]
    return [x[i] for i in kept], [values[i] for i in kept]


def sentence(word, said, results):
    """The verdict: the word, what was measured, and the caveat that every reader must know."""
    return f"{word}: {said}{one_seed(results)}."
