"""Stretches of a regime: which to try, what each brings, and which is enough."""

from _report import difference


def stretches(ratio):
    """The powers of two up to half of the ratio of the batches, and the ratio.

    Args:
        ratio: The large batch over the small one.
    """
    if ratio <= 1:
        raise ValueError(
            "The large batch must be larger than the recipe's own. Received: a ratio of "
            f"{ratio:g}. Pass another data set, whose recipe has one."
        )
    powers = [1]
    while 2 * powers[-1] <= ratio / 2:
        powers.append(2 * powers[-1])
    return [*powers, ratio]


def arm_name(series, stretch):
    """As in "+GBN, stretch 4"."""
    return f"{series}, stretch {stretch:g}"


def stretches_of(results, series):
    """The stretches of a series, rising.

    Args:
        results: The trainings.
        series: The method.
    """
    return sorted({each["stretch"] for each in results if each["series"] == series})


def share(results, series, stretch):
    """What part of the longest stretch's gain a stretch has, or None if there is no clear gain.

    Args:
        results: The trainings.
        series: The method.
        stretch: One of its.
    """
    tried = stretches_of(results, series)
    shortest, longest = (arm_name(series, each) for each in (tried[0], tried[-1]))
    gain, noise = difference(results, longest, shortest, results[0]["scored"])
    if gain <= noise:
        return None
    own, _ = difference(results, arm_name(series, stretch), shortest, results[0]["scored"])
    return own / gain


def recommended(results, series):
    """The smallest stretch from which on none is clearly worse than the longest.

    Args:
        results: The trainings.
        series: The method.
    """
    tried = stretches_of(results, series)
    enough = tried[-1]
    for stretch in reversed(tried[:-1]):
        arms = (arm_name(series, tried[-1]), arm_name(series, stretch))
        behind, noise = difference(results, *arms, results[0]["scored"])
        if behind > noise:
            break
        enough = stretch
    return enough
