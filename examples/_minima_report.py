"""From the trainings of `compare_minima.py` to its table and its sentence."""

import math
import statistics
from pathlib import Path

import _report
from _minima_measures import barrier

FOLDER = Path("results") / "compare_minima"
# By the key in the results: the row of the table.
ROWS = {
    "test_loss": "test loss",
    "train_loss": "training loss",
    "sharpness": "sharpness 1e-3, %",
    "sharpness_smaller_box": "  box 5e-4",
    "sharpness_batch_statistics": "  batch statistics",
    "sharpness_subspace": "  subspace",
    "sharpness_adaptive": "  adaptive, 1e-2",
    "top_eigenvalue": "top eigenvalue",
    "trace": "trace",
    "trace_error": "  standard error",
    "noise_scale": "noise scale, samples",
    "weight_distance": "weight distance",
    "kernel_norm": "norm of the kernels",
}
COLUMNS = (*_report.COLUMNS, *list(ROWS)[2:])
BASE = "SB"


def summarise(results):
    """By arm and key the mean and the deviation over the seeds, None where there is none."""
    summary = {}
    for key in ("test_accuracy", "train_accuracy", *ROWS):
        for arm, values in _report.by_arm(results, key).items():
            known = all(map(math.isfinite, values))
            mean, deviation = _mean_and_deviation(values) if known else (None, None)
            summary.setdefault(arm, {})[key] = {"mean": mean, "deviation": deviation}
    return summary


def _mean_and_deviation(values):
    """JSON knows no NaN: one value has the deviation None."""
    return statistics.fmean(values), _report.spread(values) if len(values) > 1 else None


def cell(mean, deviation, decimals=None):
    """A mean and its deviation in 12 characters: with three digits, or with a power of ten."""
    if mean is None:
        return "unknown"
    numbers = [number for number in (mean, deviation) if number is not None]
    power = math.floor(math.log10(abs(mean))) if mean else 0
    if decimals is None and power < -1:
        text = "±".join(f"{number * 10**-power:.1f}" for number in numbers)
        return f"({text})e{power}" if len(numbers) > 1 else f"{text}e{power}"
    if decimals is None:
        decimals = max(0, 2 - power)
    return "±".join(f"{number:.{decimals}f}" for number in numbers)


def table(summary, paths, results, title, quick=False):
    """A row a measure, a column an arm."""
    arms = list(summary)
    rows = []
    for key, label in (
        ("test_accuracy", "test accuracy, %"),
        ("train_accuracy", "training accuracy, %"),
    ):
        values = [summary[arm][key] for arm in arms]
        rows.append((label, [_percent(value) for value in values]))
    for key, label in ROWS.items():
        values = [summary[arm][key] for arm in arms]
        rows.append((label, [cell(value["mean"], value["deviation"]) for value in values]))
    lines = [f"{label:21}" + "".join(f"{text:>13}" for text in texts) for label, texts in rows]
    rule = "-" * len(lines[0])
    agreed = sum(result["searches_agreed"] for result in results)
    searches = sum(result["searches"] for result in results)
    notes = [
        *title,
        "mean±deviation over the seeds; over the training set, batch norm with",
        "its stored statistics, but for the row that says batch statistics",
        *([_report.QUICK] if quick else []),
    ]
    heading = f"{'':21}" + "".join(f"{arm:>13}" for arm in arms)
    return "\n".join(
        [
            *notes,
            rule,
            heading,
            rule,
            *lines,
            rule,
            f"starts agreed in {agreed} of {searches} searches for a sharpness; "
            "each is a lower bound",
            *(
                f"barrier on the path from SB to LB, {how} statistics: {_barrier(paths, how)}"
                for how in ("interpolated", "estimated")
            ),
        ]
    )


def _percent(value):
    deviation = value["deviation"]
    return cell(100 * value["mean"], None if deviation is None else 100 * deviation, 2)


def _barrier(paths, how):
    return cell(*_mean_and_deviation([barrier(path, how) for path in paths.values()]))


def verdict(results, scored, quick=False):
    """Whether the flatter minima were the better ones, in one sentence.

    Flatter is meant in sharpness (full space, 1e-3) and top eigenvalue both, in every seed; better
    as beyond two standard errors.

    Args:
        results: The trainings of all arms.
        scored: Samples that the accuracies were measured on.
        quick: Whether the run was too short to say anything.
    """
    if quick:
        return _report.QUICK
    arms = list(_report.by_arm(results, "seed"))
    beside = ", ".join(_beside(results, arm, scored) for arm in arms if arm != BASE)
    pairs = [(a, b) for a in arms for b in arms if a != b and _flatter(results, a, b)]
    gains = {pair: _report.difference(results, *pair, scored) for pair in pairs}
    against = [
        f"{a} is flatter than {b} and {_words(gain, noise)}"
        for (a, b), (gain, noise) in gains.items()
        if gain <= noise
    ]
    if not pairs:
        end = "no arm is flatter than another in both measures and every seed"
    elif against:
        end = f"flatter is not always better here: {'; '.join(against)}"
    else:
        end = f"the flatter arm is the better one in all {len(pairs)} pairs that differ"
    return f"Beside SB, {beside}; {end}{_report.caveats(results)}."


def _beside(results, arm, scored):
    difference = _words(*_report.difference(results, arm, BASE, scored))
    ratios = [_ratio(results, arm, BASE, key) for key in ("sharpness", "top_eigenvalue")]
    # Two digits: "1,700", not "1.7e+03".
    sharper, curved = (f"{float(f'{ratio:.2g}'):,g}" for ratio in ratios)
    return f"{arm} is {difference}, {sharper} times as sharp and {curved} times as curved"


def _ratio(results, arm, other, key):
    """The geometric mean over the seeds."""
    values = _report.by_arm(results, key)
    logs = [math.log(a / b) for a, b in zip(values[arm], values[other], strict=True)]
    return math.exp(statistics.fmean(logs))


def _flatter(results, arm, other):
    measures = (_report.by_arm(results, key) for key in ("sharpness", "top_eigenvalue"))
    return all(
        a < b for values in measures for a, b in zip(values[arm], values[other], strict=True)
    )


def _words(gain, noise):
    if abs(gain) <= noise:
        return f"not clearly different in accuracy ({gain:+z.1f})"
    return f"{abs(gain):.1f} points {'better' if gain > 0 else 'worse'}"
