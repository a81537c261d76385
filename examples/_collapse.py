"""What LARS does at a constant rate, for long: the second table of `large_batch_methods.py`."""

import time
import warnings
from functools import partial

import _data
import _report
import keras
import numpy as np
from _progress import ProgressLine
from _runs import hardware
from closing_the_gap import network, scores

from keras_bigbatch.optimizers import LARS

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
    norm = partial(keras.layers.BatchNormalization, momentum=0.9)
    model = network(data.shape, data.classes, norm)
    updates = -(-len(data.x_train) // BATCH) * lengths[-1]
    model.compile(
        optimizer(updates, **recipe["optimizer"]),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    looks, done = [], 0
    for length in lengths:
        model.fit(
            data.x_train,
            data.y_train,
            batch_size=BATCH,
            initial_epoch=done,
            epochs=length,
            callbacks=[progress],
            verbose=0,
        )
        done = length
        kernels = [w for w in model.trainable_variables if w.path.endswith("kernel")]
        norms = [float(np.linalg.norm(keras.ops.convert_to_numpy(w))) for w in kernels]
        looks.append(
            {
                "epochs": length,
                "updates": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
                **scores(model, data, "train"),
                **scores(model, data, "test"),
                "kernel_norm": float(np.linalg.norm(norms)),
            }
        )
    return {"seconds": time.perf_counter() - start, "looks": looks}


def run(options, runs, folder):
    """Train all, print the table, write `collapse.csv` and `collapse.json`."""
    data = _data.load("mnist1d")
    lengths = [1, 2] if options.quick else LENGTHS
    results = []
    for seed in options.seeds:
        for name, arguments in ARMS.items():
            progress = ProgressLine(f"seed {seed}  {name:18}", lengths[-1])
            recipe = {"collapse": True, "lengths": lengths, "optimizer": arguments}
            result, kept = runs.once(
                name,
                seed,
                recipe,
                lambda recipe=recipe, seed=seed, line=progress: train(data, recipe, seed, line),
            )
            last = result["looks"][-1]
            note = "  (kept from an earlier run)" if kept else ""
            progress.finish(f"test {100 * last['test_accuracy']:5.2f} %{note}")
            results += [{"arm": name, "seed": seed, **look} for look in result["looks"]]
    summary = summarise(results)
    context = {
        "title": f"LARS at a relative step of {STEP}, batch {BATCH}, {data.scored_on}",
        "warning": warning(),
        "summary": summary,
        "seeds": options.seeds,
        "hardware": hardware(),
        **runs.common,
    }
    columns = ("arm", "seed", *results[0])
    _report.write(folder / "collapse", results, context, tuple(dict.fromkeys(columns)))
    print(f"\n{table(summary, context['title'], options.quick)}")
    print(f"\nLARS says so at construction: {context['warning']}")
    print(f"\nCSV and JSON are in {folder / 'collapse'}.")


def summarise(results):
    """By arm, what each length has: the numbers of `_report.summarise`, and the kernels' norm."""
    summary = {}
    for arm in dict.fromkeys(result["arm"] for result in results):
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
    heads = [f"{look['updates']:,} updates" for look in next(iter(summary.values()))]
    lines = [f"{'':18}" + "".join(f"{head:>24}" for head in heads)]
    for arm, looks in summary.items():
        cells = [
            f"{look['test_accuracy']:.1f} ({look['lowest']:.1f} to {look['highest']:.1f})"
            for look in looks
        ]
        norms = [f"norm {look['kernel_norm']:.3g}" for look in looks]
        lines.append(f"{arm:18}" + "".join(f"{cell:>24}" for cell in cells))
        lines.append(f"{'':18}" + "".join(f"{norm:>24}" for norm in norms))
    rule = "-" * max(map(len, lines))
    notes = [
        title,
        "test accuracy in %, mean (lowest to highest seed), and the norm of all kernels together",
        *([_report.QUICK] if quick else []),
    ]
    return "\n".join([*notes, rule, lines[0], rule, *lines[1:], rule])
