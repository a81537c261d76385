"""What the seeds allow to say: means, differences with their noise, and what they leave open."""

import math
import statistics

from scipy import stats

FITTED = 0.99  # training accuracy from which a gap is one of generalization
UNFITTED = (
    "; but not every arm fits the training set (lowest training accuracy over the seeds: {}), so "
    "part of this may be under-training"
)


def by_arm(results, key):
    """The values of one key, by arm and in the order of the seeds."""
    arms = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        arms.setdefault(result["arm"], []).append(result[key])
    order = dict.fromkeys(result["arm"] for result in results)
    return {arm: arms[arm] for arm in order}


def spread(values):
    """The standard deviation over the seeds, n - 1 in the denominator; NaN for one seed."""
    # A training that diverged has NaNs, which `stdev` fails on.
    known = len(values) > 1 and all(map(math.isfinite, values))
    return statistics.stdev(values) if known else math.nan


def summarise(results):
    """The numbers of the table, by arm: accuracies in percent, the others as means over seeds."""
    tests = by_arm(results, "test_accuracy")
    summary = {}
    for arm, accuracies in tests.items():
        values = {
            key: statistics.fmean(by_arm(results, key)[arm])
            for key in ("train_accuracy", "updates", "samples", "seconds")
        }
        deviation = spread(accuracies)
        summary[arm] = {
            "test_accuracy": 100 * statistics.fmean(accuracies),
            # JSON knows no NaN.
            "test_deviation": None if math.isnan(deviation) else 100 * deviation,
            "train_accuracy": 100 * values["train_accuracy"],
            "updates": values["updates"],
            "samples": values["samples"],
            "seconds": values["seconds"],
        }
    return summary


def difference(results, arm, other, scored):
    """How many points `arm` is above `other`, and half of the 95 % interval around that.

    Paired by seed. The interval is Student's for the seeds, and has a part beside theirs: that of
    a test set of `scored` samples, which all seeds share and more seeds do not make smaller.
    """
    accuracies = by_arm(results, "test_accuracy")
    pairs = [100 * (a - b) for a, b in zip(accuracies[arm], accuracies[other], strict=True)]
    level = min(max(statistics.fmean(accuracies[arm]), 0.5), 1 - 1 / scored)
    of_test_set = 100**2 * level * (1 - level) / scored
    of_seeds = statistics.variance(pairs) / len(pairs) if len(pairs) > 1 else 0.0
    variance = of_seeds + of_test_set
    # Degrees of freedom by Welch and Satterthwaite: the seeds have one less than there are, the
    # test set no end of them. So one seed is left with the normal distribution.
    freedom = (len(pairs) - 1) * (variance / of_seeds) ** 2 if of_seeds else math.inf
    return statistics.fmean(pairs), float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)


def mean_and_noise(values):
    """The mean over the seeds and half of Student's 95 % interval of it, 0 for one seed.

    Args:
        values: One number a seed. Both results are NaN where one of them is not finite.
    """
    if len(values) < 2:
        return values[0], 0.0
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    reach = float(stats.t.ppf(0.975, len(values) - 1))
    return statistics.fmean(values), reach * statistics.stdev(values) / math.sqrt(len(values))


def caveats(results, unfitted="; not every seed fits the training set: {}"):
    """What a reader must know before he believes the sentence.

    Args:
        results: The trainings.
        unfitted: What to say of arms that do not fit the training set, `{}` for their names.
    """
    poor = _unfitted_arms(results)
    text = unfitted.format(poor) if poor else ""
    one_seed = len({result["seed"] for result in results}) == 1
    return text + ("; one seed shows no spread" if one_seed else "")


def unfitted(results):
    """A sentence on the arms that not every seed fits to the training set, or nothing."""
    poor = _unfitted_arms(results)
    if not poor:
        return ""
    return (
        f"Not every arm fits the training set (lowest training accuracy over the seeds: {poor}), "
        "so part of this may be under-training."
    )


def _unfitted_arms(results):
    fits = {arm: min(values) for arm, values in by_arm(results, "train_accuracy").items()}
    return "; ".join(f"{arm}: {100 * fit:.1f} %" for arm, fit in fits.items() if fit < FITTED)
