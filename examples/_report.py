"""From finished trainings to the table, the verdict, and the files."""

import csv
import json
import math
import statistics

from _runs import write_atomically

FITTED = 0.99  # training accuracy from which a gap is one of generalization
UNFITTED = (
    "; but not every arm fits the training set ({}), so this is under-training as much as "
    "generalization"
)
QUICK = "QUICK RUN: it shows that everything works, and is evidence of nothing."
COLUMNS = (
    "arm",
    "seed",
    "batch",
    "epochs",
    "updates",
    "samples",
    "seconds",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
)


def by_arm(results, key):
    """The values of one key, by arm and in the order of the seeds."""
    arms = {}
    for result in sorted(results, key=lambda result: result["seed"]):
        arms.setdefault(result["arm"], []).append(result[key])
    order = dict.fromkeys(result["arm"] for result in results)
    return {arm: arms[arm] for arm in order}


def line(result, split):
    """One training in one line; `split` is what it was scored on."""
    return (
        f"{result['updates']:6d} updates  {result['seconds']:5.1f} s  "
        f"training {100 * result['train_accuracy']:6.2f} %  "
        f"{split} {100 * result['test_accuracy']:5.2f} %"
    )


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


def table(summary, title, split="test", quick=False):
    """The paper's Table 1 row, and below it what each arm cost."""
    rows = [("", list(summary))]
    rows.append((f"{split} accuracy, %", [with_deviation(arm) for arm in summary.values()]))
    for label, key, form in (
        ("training accuracy, %", "train_accuracy", "{:.2f}"),
        ("updates", "updates", "{:,.0f}"),
        ("samples processed", "samples", "{:,.0f}"),
        ("seconds", "seconds", "{:.1f}"),
    ):
        rows.append((label, [form.format(arm[key]) for arm in summary.values()]))
    width = max(len(cell) for _, cells in rows for cell in cells) + 3
    lines = [f"{label:22}" + "".join(f"{cell:>{width}}" for cell in cells) for label, cells in rows]
    rule = "-" * len(lines[0])
    heading = [title, "mean ± standard deviation over the seeds", *([QUICK] if quick else [])]
    return "\n".join([*heading, rule, lines[0], rule, lines[1], rule, *lines[2:], rule])


def with_deviation(arm):
    """An accuracy of `summarise`, with its deviation if it has one."""
    deviation = arm["test_deviation"]
    return f"{arm['test_accuracy']:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


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


def verdict(results, scored, quick=False):
    """What the numbers say, in one sentence.

    Args:
        results: The trainings of all five arms.
        scored: Samples that the accuracies were measured on.
        quick: Whether the run was too short to say anything.
    """
    if quick:
        return QUICK
    gap, noise = difference(results, "SB", "LB", scored)
    if gap <= noise:
        text = f"No clear gap here: the large batch is within noise of the small one ({-gap:+z.1f})"
        if gap < -noise:
            text = f"No gap here: the large batch is {-gap:.1f} points better than the small one"
        return f"{text}, so there is nothing to close{caveats(results, UNFITTED)}."
    steps = [
        _effect(name, *difference(results, arm, before, scored))
        for name, arm, before in (
            ("the scaled rate", "+LR", "LB"),
            ("ghost batch normalization", "+GBN", "+LR"),
            ("the adapted regime", "+RA", "+GBN"),
        )
    ]
    closed = 100 * difference(results, "+RA", "LB", scored)[0] / gap
    left, noise = difference(results, "SB", "+RA", scored)
    end = f"{abs(left):.1f} points {'below' if left > 0 else 'above'} the small batch"
    if abs(left) <= noise:
        end = f"level with the small batch ({-left:+z.1f})"
    share = "the whole gap" if closed >= 99.5 else f"{closed:.0f} % of the gap"
    share = f"{share} is closed" if closed >= 0.5 else "none of the gap is closed"
    return (
        f"The large batch loses {gap:.1f} points; {steps[0]}, {steps[1]}, {steps[2]}: "
        f"{share}, and the last arm ends {end}{caveats(results, UNFITTED)}."
    )


def _effect(name, points, noise):
    if abs(points) <= noise:
        return f"{name} makes no clear difference ({points:+z.1f})"
    return f"{name} {'gains' if points > 0 else 'loses'} {abs(points):.1f}"


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


def write(folder, results, context, columns=COLUMNS):
    """Write `trainings.csv`, a row a training, and `results.json`, with everything."""

    def write_csv(part):
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(results)

    content = json.dumps({**context, "trainings": results})
    # A training that diverged has NaNs, which JSON does not know.
    content = json.dumps(json.loads(content, parse_constant=lambda _: None), indent=1)
    write_atomically(folder / "trainings.csv", write_csv)
    write_atomically(folder / "results.json", lambda part: part.write_text(content + "\n"))
