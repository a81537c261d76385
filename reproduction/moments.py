"""Which change of an optimizer keeps a noisy trajectory when the batch grows? Measured here.

Keras's optimizers on a quadratic whose gradient is nearly all noise: 2 048 weights of curvature 1,
each a run of its own, from 0.3 to the minimum at 0. The batch grows k = 4, 16 and 64 times from 4,
at equal samples: 65 536 updates of the small batch, 1 024 of the largest. Compared are the
deviation over the weights and the drift of their mean, as ratios to the small batch's, each batch
with noise of its own.

A rule changes the rate (none, square root, linear), the betas (left, or beta^k, which keeps them in
samples) and AdamW's weight decay (times k over the rate's factor, or left). Epsilon and initial
accumulators move with the square, or the sum of squares, that they stand beside.

Two levels of noise a sample count, 30 and 100: at the start the gradient noise scale, (noise /
0.3)^2, is 10 000 and 111 000 samples, far above the largest batch of 256, which is what these rules
are derived for. At 30 the mean gets most of the way and the deviation settles; at 100 the adaptive
optimizers get half of the way and their deviation still grows. A third, 3, has a noise scale of 100
samples: it shows what happens beyond, and does not count.

Criterion, written before the run with the seeds 10 to 14 (seed 0 chose the rates and the length):

- A rule keeps an optimizer's moments at a k if deviation and drift, at a quarter, a half and the
  whole of the training, at noise 30 and 100, are all 0.8 to 1.25 times the small batch's; for
  Adagrad, whose first steps are the largest, from 0.75. It must be so for the mean over the seeds
  with two standard errors: in doubt it does not.
- A rule is the optimizer's if it does so at 4, 16 and 64.
- A sixteenth of the training is reported and does not count: it shows the start.

Result: every optimizer but Lion, Adadelta and Ftrl has a rule; these three have one up to k = 16
(docs/evidence/moments.md). Four minutes of one core's time with JAX.
"""

import time
from pathlib import Path

from reproduction import moments_report, plotting, report
from reproduction.moments_rules import OPTIMIZERS, moved, rules
from reproduction.runs import Case, Runs
from reproduction.trajectories import follow

FOLDER = Path("results") / "moments"
SOURCES = ("moments.py", "moments_rules.py", "trajectories.py")  # what decides the outcome
SETTINGS = {
    "batch": 4,
    "updates": 65_536,
    "ratios": [4, 16, 64],
    "noises": [30.0, 100.0, 3.0],
    "weights": 2048,
    "parts": [1 / 16, 1 / 4, 1 / 2, 1],
}
SEEDS = [10, 11, 12, 13, 14]
QUICK, QUICK_OPTIMIZERS = {"updates": 1024, "weights": 256}, ("SGD", "RMSprop")


def compare(make, settings, seed):
    """One optimizer by all rules, at one seed: the ratios of its moments to the small batch's."""
    start = time.perf_counter()
    shape = {key: settings[key] for key in ("noises", "weights", "parts")}
    batch, updates = settings["batch"], settings["updates"]
    small = follow({"small": make()}, batch, updates, seed=(seed, 1), **shape)["small"]
    found = []
    for ratio in settings["ratios"]:
        optimizers = {str(rule): moved(make(), ratio, rule) for rule in rules(make())}
        large = follow(optimizers, batch * ratio, updates // ratio, seed=(seed, ratio), **shape)
        for rule, values in large.items():
            ratios = {key: digits(values[key] / small[key]) for key in values}
            found.append({"ratio": ratio, "rule": rule, **ratios})
    small = {key: digits(values) for key, values in small.items()}
    return {"seconds": time.perf_counter() - start, "small": small, "large": found}


def digits(values):
    """A table of numbers, with the digits that are worth keeping."""
    return [[float(f"{value:.4g}") for value in row] for row in values]


def main(options):
    """Every optimizer by every rule."""
    quick = options.quick
    settings = SETTINGS | (QUICK if quick else {})
    seeds = options.seeds or (SEEDS[:1] if quick else SEEDS)
    folder = options.output or FOLDER
    runs = Runs(folder / "runs", {"quick": quick, **settings}, SOURCES)
    cases = [
        Case(name, {}, 1, lambda seed, _, make=make: compare(make, settings, seed))
        for name, make in OPTIMIZERS.items()
        if not quick or name in QUICK_OPTIMIZERS
    ]
    results = runs.make(cases, seeds, moments_report.line)

    rows = moments_report.rows(results, settings)
    summary = moments_report.summarise(rows)
    said = report.QUICK if quick else moments_report.verdict(summary)
    context = {"verdict": said, "seeds": seeds, "command": options.as_typed, "summary": summary}
    trainings = [{key: each[key] for key in each if key != "large"} for each in results]
    report.write(folder, trainings, context | runs.context(), moments_report.COLUMNS, rows)
    with plotting.written(folder / "figure.png", moments_report.TITLE, quick) as picture:
        moments_report.draw(picture, summary, settings)
    print(f"\n{moments_report.table(summary, settings, seeds, quick)}\n\n{said}")
    print(f"\nPicture, CSV and JSON are in {folder}.")
