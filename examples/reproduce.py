"""Make a table row or a figure of the papers anew, on your hardware.

    python examples/reproduce.py --list
    python examples/reproduce.py --table1 F1 --dataset fashion_mnist --scale 0.2
    python examples/reproduce.py --figure hoffer-2 --seeds 10 11 12

Tables train the paper's network by the paper's recipe, on its data set unless `--dataset` or
`--data-dir` names another. Figures take the small network and the recipe of `closing_the_gap.py`,
on MNIST-1D, which needs no download.

Each finished training is a JSON file, so that the same command goes on after Ctrl-C or a crash.
`--report FOLDER` makes the Markdown and the picture of a folder again, from its JSON alone.
"""

import os
import shlex
import sys

from _options import chosen_backend

os.environ["KERAS_BACKEND"] = chosen_backend()  # Keras reads it once, when it is imported

import _report
from _progress import ProgressLine
from _runs import Runs, writes
from papers import catalogue, cost, report
from papers.command import parse
from papers.settings import experiment_of, setting_of

# Beside these an experiment names its own.
SOURCES = (
    "closing_the_gap.py",
    "_data.py",
    "papers/experiment.py",
    "papers/settings.py",
    "papers/devices.py",
    "papers/shares.py",
)


def train_all(experiment, setting, seeds, runs):
    """Makes what is not finished yet. Seeds outside, arms inside: all arms as soon as can be."""
    results = []
    cases = experiment.cases(setting)
    width = max(len(case.arm) for case in cases)
    for seed in seeds:
        for case in cases:
            progress = ProgressLine(f"seed {seed}  {case.arm:{width}}", case.epochs)
            task = (seed, progress)
            result, kept = runs.once(
                case.arm, seed, case.recipe, lambda case=case, task=task: case.run(*task)
            )
            note = "  (kept from an earlier run)" if kept else ""
            progress.finish(_line(result, setting.data.split) + note)
            known = {"arm": case.arm, "seed": seed, "scored": setting.data.scored}
            results.append({**known, **case.recipe, **result})
    return results


def _line(result, split):
    """A training in one line, or what a measurement took."""
    if "test_accuracy" in result:
        return _report.line(result, split)
    return f"{result['seconds']:5.1f} s"


def main():
    options = parse(__doc__)
    if options.list:
        print(listing())
        return
    if options.report:
        print(report.make(options.report, catalogue.everything()))
        return
    if options.estimate:
        print(cost.estimate(experiment_of(options).row))
        return
    experiment, setting = setting_of(options)
    print(f"{experiment.title}: {setting.data.name}, {setting.notes}\n")
    settings = {
        "data": str(options.data_dir or setting.data.name),
        "trained_on": setting.data.examples,
        "scored_on": setting.data.scored_on,
        "policy": options.mixed_precision or "float32",
        "devices": options.distribute,
        "quick": options.quick,
    }
    runs = Runs(options.output / "runs", settings, (*SOURCES, *experiment.sources))
    try:
        results = train_all(experiment, setting, options.seeds, runs)
    except KeyboardInterrupt:
        print(f"\nStopped. Finished trainings are in {runs.folder}; run it again to go on.")
        raise SystemExit(130) from None
    if not writes():
        return  # The report is made of a file, which another process may not have written yet.
    context = {
        "data": f"{setting.data.name}, {setting.data.scored_on}",
        "notes": setting.notes,
        "seeds": options.seeds,
        "command": _command(sys.argv[1:]),
        **runs.common,
    }
    report.keep(options.output, experiment, results, context)
    print(f"\n{report.make(options.output, catalogue.everything())}")
    print(f"Report, picture, CSV and JSON are in {options.output}.")


def _command(words):
    """The command that makes this, less where it writes, which decides nothing."""
    if "--output" in words:
        place = words.index("--output")
        words = words[:place] + words[place + 2 :]
    return shlex.join(["python", "examples/reproduce.py", *words])


def listing():
    """What can be made, a line each."""
    experiments = catalogue.everything()
    width = max(map(len, experiments))
    return "\n".join(f"{name:{width}}  {each.title}" for name, each in experiments.items())


if __name__ == "__main__":
    main()
