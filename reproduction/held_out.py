"""Tuning: the accuracies of some settings on held-out training samples, and the best of them."""

from dataclasses import replace
from statistics import fmean


def by_rate(runs, maker, rates, seeds, line):
    """By rate, or by the name of a setting, the mean accuracy in percent over the seeds.

    Args:
        runs: Where the trainings are kept, which are scored on held-out samples.
        maker: Makes the case of one of `rates`.
        rates: To try, or the settings' names.
        seeds: Each is tried with each.
        line: As `Runs.make` has it.
    """
    found = {}
    for rate in rates:
        case = maker(rate)
        made = runs.make([replace(case, arm=f"{case.arm} {rate}")], seeds, line)
        found[rate] = 100 * fmean(result["test_accuracy"] for result in made)
    return found


def best(found):
    """The one of the highest accuracy; of equally good ones the first.

    Args:
        found: Of `by_rate`.
    """
    return max(found, key=found.get)
