"""What the seeds allow to say: means, differences with their noise, and whether a claim holds."""

import math
import statistics

FITTED = 0.99  # training accuracy from which a gap is one of generalization
UNFITTED = (
    "; but not every arm fits the training set ({}), so this is under-training as much as "
    "generalization"
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
    """How many points `arm` is above `other`, and how far from 0 that must be to count.

    Paired by seed. The noise is two standard errors: that of the mean over the seeds, and that of
    a test set of `scored` samples, which all seeds share and more seeds do not make smaller.
    """
    accuracies = by_arm(results, "test_accuracy")
    pairs = [100 * (a - b) for a, b in zip(accuracies[arm], accuracies[other], strict=True)]
    level = min(max(statistics.fmean(accuracies[arm]), 0.5), 1 - 1 / scored)
    variance = 100**2 * level * (1 - level) / scored
    if len(pairs) > 1:
        variance += statistics.variance(pairs) / len(pairs)
    return statistics.fmean(pairs), 2 * math.sqrt(variance)


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


def outcome(*holds):
    """The verdict's first word: what is left of a claim of these parts."""
    if all(holds):
        return "Reproduced"
    return "Partly" if any(holds) else "Not reproduced"


def caveats(results, unfitted="; not fitted to the training set by every seed: {}"):
    """What a reader must know before he believes the sentence.

    Args:
        results: The trainings.
        unfitted: What to say of arms that do not fit the training set, `{}` for their names.
    """
    fits = {arm: min(values) for arm, values in by_arm(results, "train_accuracy").items()}
    poor = [f"{arm} {100 * fit:.1f} %" for arm, fit in fits.items() if fit < FITTED]
    text = unfitted.format(", ".join(poor)) if poor else ""
    return text + one_seed(results)


def one_seed(results):
    """What a reader must know if there is one seed only."""
    return "" if len({result["seed"] for result in results}) > 1 else "; one seed shows no spread"
