"""What seeds allow to say: a mean with its noise, and whether a claim's criteria hold."""

import math
import statistics


def mean_and_noise(values):
    """The mean over the seeds and two standard errors of it, 0 for one seed.

    Args:
        values: One number a seed. Both results are NaN where one of them is not finite.
    """
    if len(values) < 2:
        return values[0], 0.0
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    return statistics.fmean(values), 2 * statistics.stdev(values) / math.sqrt(len(values))


def within(values, low=-math.inf, high=math.inf):
    """Whether the mean lies between two numbers, with its noise: in doubt it does not."""
    mean, noise = mean_and_noise(values)
    return low <= mean - noise and mean + noise <= high


def with_noise(values, form="{:.2f}"):
    """As in "1.57 ± 0.04"; one seed has no noise to show."""
    mean, noise = mean_and_noise(values)
    text = form.format(mean)
    return text if len(values) < 2 else f"{text} ± {form.format(noise)}"


def outcome(*holds):
    """The verdict's first word: what is left of a claim of these parts."""
    if all(holds):
        return "Reproduced"
    return "Partly" if any(holds) else "Not reproduced"
