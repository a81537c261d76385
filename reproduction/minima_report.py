"""From the minima's measures to their table, sentence and picture."""

import math
from statistics import fmean

from reproduction import report
from reproduction.minima_measures import STATISTICS, barrier
from reproduction.plotting import STYLES, tidy
from reproduction.statistics import by_arm, caveats, difference, spread

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
COLUMNS = (*report.COLUMNS, *list(ROWS)[2:])
BASE = "SB"
LINES = {"interpolated": ("#D55E00", "-"), "estimated": ("#0072B2", "--")}


def summarise(results):
    """By arm and key the mean and the deviation over the seeds, None where there is none."""
    summary = {}
    for key in ("test_accuracy", "train_accuracy", *ROWS):
        for arm, values in by_arm(results, key).items():
            known = all(map(math.isfinite, values))
            mean, deviation = _mean_and_deviation(values) if known else (None, None)
            summary.setdefault(arm, {})[key] = {"mean": mean, "deviation": deviation}
    return summary


def _mean_and_deviation(values):
    """JSON knows no NaN: one value has the deviation None."""
    return fmean(values), spread(values) if len(values) > 1 else None


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
    rows = [("", arms)]
    for key, label in (
        ("test_accuracy", "test accuracy, %"),
        ("train_accuracy", "training accuracy, %"),
    ):
        rows.append((label, [_percent(summary[arm][key]) for arm in arms]))
    for key, label in ROWS.items():
        values = [summary[arm][key] for arm in arms]
        rows.append((label, [cell(value["mean"], value["deviation"]) for value in values]))
    lines = [f"{label:21}" + "".join(f"{text:>13}" for text in texts) for label, texts in rows]
    notes = [
        *title,
        "mean±deviation over the seeds; over the training set, batch norm with",
        "its stored statistics, but for the row that says batch statistics",
    ]
    agreed, searches = (sum(r[key] for r in results) for key in ("searches_agreed", "searches"))
    below = [
        f"starts agreed in {agreed} of {searches} searches for a sharpness; each is a lower bound",
        *(
            f"barrier on the path from SB to LB, {how} statistics: {_barrier(paths, how)}"
            for how in STATISTICS
        ),
    ]
    return "\n".join([report.ruled(notes, lines[:1], lines[1:], quick=quick), *below])


def _percent(value):
    deviation = value["deviation"]
    return cell(100 * value["mean"], None if deviation is None else 100 * deviation, 2)


def _barrier(paths, how):
    return cell(*_mean_and_deviation([barrier(path, how) for path in paths.values()]))


def verdict(results, scored):
    """Whether the flatter minima were the better ones, in one sentence.

    Flatter is meant in sharpness (full space, 1e-3) and top eigenvalue both, in every seed; better
    as beyond the 95 % interval of the difference.
    """
    arms = list(by_arm(results, "seed"))
    beside = ", ".join(_beside(results, arm, scored) for arm in arms if arm != BASE)
    pairs = [(a, b) for a in arms for b in arms if a != b and _flatter(results, a, b)]
    gains = {pair: difference(results, *pair, scored) for pair in pairs}
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
    return f"Compared with SB, {beside}; {end}{caveats(results)}."


def _beside(results, arm, scored):
    better = _words(*difference(results, arm, BASE, scored))
    ratios = [_ratio(results, arm, BASE, key) for key in ("sharpness", "top_eigenvalue")]
    # Two digits: "1,700", not "1.7e+03".
    sharper, curved = (f"{float(f'{ratio:.2g}'):,g}" for ratio in ratios)
    return f"{arm} is {better}, {sharper} times as sharp and {curved} times as curved"


def _ratio(results, arm, other, key):
    """The geometric mean over the seeds."""
    values = by_arm(results, key)
    logs = [math.log(a / b) for a, b in zip(values[arm], values[other], strict=True)]
    return math.exp(fmean(logs))


def _flatter(results, arm, other):
    measures = (by_arm(results, key) for key in ("sharpness", "top_eigenvalue"))
    return all(
        a < b for values in measures for a, b in zip(values[arm], values[other], strict=True)
    )


def _words(gain, noise):
    if abs(gain) <= noise:
        return f"not clearly different in accuracy ({gain:+z.1f})"
    return f"{abs(gain):.1f} points {'better' if gain > 0 else 'worse'}"


def page(content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    lines = table(content["summary"], content["paths"], content["trainings"], content["notes"])
    return "\n\n".join(
        [
            f"```text\n{lines}\n```",
            f"{content['verdict']}",
            pictures["figure"],
            f"{report.made_by(content)}, not counting the measurements.",
            f"```sh\n{report.wrapped(content['command'])}\n```",
        ]
    )


def draw(picture, results, paths, accuracy):
    """The paths, and accuracy beside flatness, seed by seed.

    Args:
        picture: An empty figure.
        results: The trainings.
        paths: By seed the losses along the line from SB to LB.
        accuracy: What the accuracies were measured on, for the axis.
    """
    left, middle, right = picture.subplots(1, 3, width_ratios=(1.2, 1, 1))
    _paths(left, paths)
    _scatter(middle, results, "sharpness", "sharpness, box 1e-3, %")
    _scatter(right, results, "top_eigenvalue", "top eigenvalue of the Hessian")
    for axes in (middle, right):
        axes.set_ylabel(f"accuracy, %, on {accuracy}")
        axes.legend(frameon=False, loc="upper right", fontsize=9)


def _paths(axes, paths):
    for how, (color, style) in LINES.items():
        for number, path in enumerate(paths.values()):
            label = f"{how} statistics" if number == 0 else None
            axes.plot(path["alphas"], path[how], style, color=color, linewidth=1.3, label=label)
    axes.set_yscale("log")
    for place, arm in ((0, "SB"), (1, "LB")):
        axes.axvline(place, color="0.6", linewidth=0.8, linestyle=":")
        axes.annotate(
            arm,
            (place, 1),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            xytext=(3, -3),
            va="top",
            fontsize=9,
        )
    axes.set_xticks([-0.5, 0, 0.5, 1, 1.5])
    axes.set(xlabel="place on the straight line from SB (0) to LB (1)", ylabel="training loss")
    axes.set_title("the loss between the minima; a line a seed", fontsize=9)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    tidy(axes)


def _scatter(axes, results, key, label):
    accuracies = by_arm(results, "test_accuracy")
    for arm, values in by_arm(results, key).items():
        color, marker, _ = STYLES[arm]
        points = [100 * accuracy for accuracy in accuracies[arm]]
        axes.plot(values, points, marker, color=color, markersize=7, alpha=0.8, label=arm)
    axes.set(xscale="log", xlabel=label)
    axes.set_title("a point a training; flatter is left", fontsize=9)
    tidy(axes)
