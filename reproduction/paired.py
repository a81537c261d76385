"""A number a seed, such as a difference in pairs: intervals, permutation test, equivalence."""

import itertools
import math
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from scipy import stats

from reproduction.statistics import FITTED, by_arm


@dataclass(frozen=True)
class OverSeeds:
    """What the seeds say of a number, which is a difference if 0 has a meaning.

    The seeds are a sample of weights and orders; the test set is the same for all. So an interval
    says what other seeds would give, scored on this test set.

    Args:
        values: One a seed, two seeds or more.
    """

    values: tuple[float, ...]

    @property
    def mean(self):
        """Over the seeds."""
        return fmean(self.values)

    def interval(self, confidence=0.95):
        """Student's interval of the mean."""
        count = len(self.values)
        reach = stats.t.ppf((1 + confidence) / 2, count - 1)
        half = float(reach) * stdev(self.values) / math.sqrt(count)
        return self.mean - half, self.mean + half

    @property
    def permutation_p(self):
        """The share of all signs of the differences with a mean at least as far from 0."""
        values = np.array(self.values)
        signs = np.array(list(itertools.product((1, -1), repeat=len(values))))
        means = np.abs(signs @ values)
        # What is equal but for the rounding counts.
        return float(np.mean(means >= means[0] * (1 - 1e-12)))

    def equivalent(self, margin, confidence):
        """Whether two one-sided tests find the mean within the margin, each at 1 - `confidence`."""
        low, high = self.interval(2 * confidence - 1)
        return -margin < low and high < margin

    def verdict(self, margin, confidence):
        """One of "better", "worse", "equivalent", "open"; the first two say if it matters."""
        low, high = self.interval(confidence)
        inside = self.equivalent(margin, confidence)
        if low > 0 or high < 0:
            word = "better" if low > 0 else "worse"
            return f"{word}, within the margin" if inside else word
        return "equivalent" if inside else "open"


def contrast(results, better, than):
    """The mean test accuracy of some arms less that of others, in points, by seed.

    Args:
        results: Trainings, each with its `arm`, `seed` and `test_accuracy`.
        better: The arms that are compared.
        than: What they are compared to.

    Raises:
        ValueError: If a training is missing.
    """
    scores = by_arm(results, "test_accuracy")
    seeds = by_arm(results, "seed")
    counts = {arm: seeds.get(arm) for arm in (*better, *than)}
    if (
        len({tuple(each) if each else () for each in counts.values()}) > 1
        or None in counts.values()
    ):
        raise ValueError(f"every arm must have the same seeds, not {counts}")
    means = [
        [fmean(each) for each in zip(*map(scores.get, arms), strict=True)]
        for arms in (better, than)
    ]
    return OverSeeds(tuple(100 * (a - b) for a, b in zip(*means, strict=True)))


def with_interval(scores, fits=None):
    """As in "97.02 ± 0.16": mean accuracy in percent and half of its 95 % interval.

    Args:
        scores: Accuracies, one a seed; none give an empty text.
        fits: Training accuracies; an asterisk marks a mean below 99 %.
    """
    if not scores:
        return ""
    percent = [100 * score for score in scores]
    text = f"{fmean(percent):.2f}"
    if len(percent) > 1:
        low, high = OverSeeds(tuple(percent)).interval()
        text += f" ± {(high - low) / 2:.2f}"
    return text + "*" * (fits is not None and fmean(fits) < FITTED)
