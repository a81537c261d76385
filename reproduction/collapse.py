"""What LARS does at a constant rate, for long."""

import time
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_bigbatch.optimizers import LARS
from reproduction import report, training
from reproduction.data import arrays
from reproduction.networks.small import network
from reproduction.runs import Case, Runs
from reproduction.statistics import by_arm

FOLDER = Path("results") / "collapse"
# What decides the outcome.
SOURCES = ["collapse.py", "training.py", "networks/small.py", "data/arrays.py"]
SEEDS = [10, 11, 12]
BATCH, STEP = 1000, 0.05  # samples; the relative step of the kernels, and the rate of the others
LENGTHS = [40, 100, 200, 400]  # epochs: one training, looked at four times
ARMS = {
    "neither": {"weight_decay": 0.0},
    "falling rate": {"weight_decay": 0.0, "falling": True},
    "weight decay 1e-4": {"weight_decay": 1e-4},
    "both": {"weight_decay": 1e-4, "falling": True},
}


def optimizer(updates, weight_decay, falling=False):
    """LARS at a constant rate, or at one that falls to 0 along a cosine."""
    rate = keras.optimizers.schedules.CosineDecay(STEP, updates) if falling else STEP
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of what is shown here; `warning` prints it
        return LARS(rate, trust_coefficient=1.0, weight_decay=weight_decay, global_clipnorm=5.0)


def warning():
    """What LARS says at construction of a constant rate without decay."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LARS(STEP, trust_coefficient=1.0)
    return str(caught[0].message)


def train(data, recipe, seed, progress):
    """One training, scored at each of the lengths."""
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    lengths = recipe["lengths"]
    model = network(data.shape, data.classes, training.plain_norm())
    updates = -(-data.examples // BATCH) * lengths[-1]
    training.compiled(model, optimizer(updates, **recipe["optimizer"]))
    looks, done = [], 0
    for length in lengths:
        fit = {"initial_epoch": done, "epochs": length, "callbacks": [progress], "verbose": 0}
        model.fit(data.x_train, data.y_train, batch_size=BATCH, **fit)
        done = length
        kernels = [w for w in model.trainable_variables if w.path.endswith("kernel")]
        norms = [float(np.linalg.norm(keras.ops.convert_to_numpy(w))) for w in kernels]
        looks.append(
            {
                "epochs": length,
                "updates": training.updates_of(model),
                **training.all_scores(model, data),
                "kernel_norm": float(np.linalg.norm(norms)),
            }
        )
    return {"seconds": time.perf_counter() - start, "looks": looks}


def main(options):
    """Train all, print the table, write CSV and JSON."""
    seeds = options.seeds or (SEEDS[:1] if options.quick else SEEDS)
    folder = options.output or FOLDER
    settings = {"data": "mnist1d", "draw": options.draw, "quick": options.quick}
    runs = Runs(folder / "runs", settings, SOURCES)
    data = arrays.load("mnist1d", draw=options.draw)
    lengths = [1, 2] if options.quick else LENGTHS
    cases = []
    for name, arguments in ARMS.items():
        recipe = {"collapse": True, "lengths": lengths, "optimizer": arguments}
        cases.append(
            Case(name, recipe, lengths[-1], lambda *to, recipe=recipe: train(data, recipe, *to))
        )
    trained = runs.make(cases, seeds, _line)
    results = [
        {"arm": each["arm"], "seed": each["seed"], **look}
        for each in trained
        for look in each["looks"]
    ]
    summary = summarise(results)
    title = f"LARS at a relative step of {STEP}, batch {BATCH}, {data.scored_on}"
    context = {"title": title, "warning": warning(), "summary": summary, "seeds": seeds}
    context |= {"command": options.as_typed, **runs.context()}
    report.write(folder, trained, context, tuple(results[0]), rows=results)
    print(f"\n{table(summary, title, options.quick)}")
    print(f"\nLARS says so at construction: {context['warning']}")
    print(f"\nCSV and JSON are in {folder}.")


def _line(result):
    return f"test {100 * result['looks'][-1]['test_accuracy']:5.2f} %"


def summarise(results):
    """By arm, what each length has: mean, lowest and highest accuracy, and the kernels' norm."""
    summary = {}
    for arm in by_arm(results, "seed"):
        mine = [result for result in results if result["arm"] == arm]
        summary[arm] = []
        for updates in dict.fromkeys(result["updates"] for result in mine):
            looks = [result for result in mine if result["updates"] == updates]
            accuracies = [100 * look["test_accuracy"] for look in looks]
            summary[arm].append(
                {
                    "updates": updates,
                    "test_accuracy": sum(accuracies) / len(accuracies),
                    "lowest": min(accuracies),
                    "highest": max(accuracies),
                    "kernel_norm": sum(look["kernel_norm"] for look in looks) / len(looks),
                }
            )
    return summary


def table(summary, title, quick=False):
    """A row an arm, a column a length: mean accuracy, lowest and highest, and the norm."""
    rows = [("", [f"{look['updates']:,} updates" for look in next(iter(summary.values()))])]
    for arm, looks in summary.items():
        rows.append((arm, [_cell(look) for look in looks]))
        rows.append(("", [f"norm {look['kernel_norm']:.3g}" for look in looks]))
    lines = [f"{name:18}" + "".join(f"{cell:>24}" for cell in cells) for name, cells in rows]
    notes = (
        "test accuracy in %, mean (lowest to highest seed), and the norm of all kernels together"
    )
    return report.ruled([title, notes], lines[:1], lines[1:], quick=quick)


def page(content, pictures):  # noqa: ARG001 - there is nothing to draw
    """The generated part of a page: the `text` of a `places.Place`."""
    summary = content["summary"]
    heading = ["", *(f"{look['updates']:,} updates" for look in next(iter(summary.values())))]
    rows = [
        [arm, *map(_cell, looks), f"{looks[-1]['kernel_norm']:.3g}"]
        for arm, looks in summary.items()
    ]
    seeds = content["seeds"]
    return "\n\n".join(
        [
            report.markdown_table([*heading, "final norm"], rows),
            f"Test accuracy in %: mean over {len(seeds)} seeds, with the lowest and highest in "
            f"brackets. The norm is that of all kernels together. {report.made_by(content)}.",
            f"```sh\n{report.wrapped(content['command'])}\n```",
        ]
    )


def _cell(look):
    return f"{look['test_accuracy']:.1f} ({look['lowest']:.1f} to {look['highest']:.1f})"
