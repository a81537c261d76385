"""Close the generalization gap of large-batch training: the paper's Table 1 row, measured here.

Five arms share a network, a data set, and for each seed the initial weights:

    SB    the small batch that the recipe was tuned at
    LB    a large batch, the recipe unchanged
    +LR   and the rate times the square root of the ratio of the batches
    +GBN  and ghost batch normalization
    +RA   and the regime adapted: every phase of the recipe stretched, for more updates

Result: MNIST-1D, test accuracy in %, mean ± standard deviation over n = 3 seeds (10, 11, 12) that
were not used to choose the settings; every arm fits the training set:

    SB 95.85 ± 0.18   LB 91.49 ± 0.73   +LR 92.00 ± 0.43   +GBN 95.77 ± 0.45   +RA 96.07 ± 0.32

on 2 cores of an AMD EPYC, with JAX 0.10.2 and Keras 3.15.1, in 2 min 5 s.

Run it again after Ctrl-C, and it goes on where it stopped. Sizes are in samples, lengths in epochs.
"""

import os
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from _options import chosen_backend, parse_options

os.environ["KERAS_BACKEND"] = chosen_backend()  # Keras reads it once, when it is imported

import _data
import _figure
import _report
import keras
from _progress import ProgressLine
from _runs import Runs, hardware

import keras_bigbatch as kbb

SOURCES = ("closing_the_gap.py", "_data.py", "_options.py")  # what decides the outcome


@dataclass(frozen=True)
class Arm:
    """What to train with: sizes and rates in the plan, and what makes a normalization layer."""

    plan: Any
    norm: Any


def small_batch_regime(options, examples):
    """The recipe that was tuned at the small batch: the rate drops at 1/2 and 3/4."""
    rate, epochs = options.learning_rate, options.epochs
    return kbb.Regime(
        batch=options.small_batch,
        epochs=epochs,
        examples=examples,
        learning_rate={0: rate, epochs // 2: rate / 10, epochs * 3 // 4: rate / 100},
        drop_remainder=False,  # of arrays, fit trains on the last, partial batch as well
    )


def five_arms(regime, large, virtual_batch, stretch):
    """The whole method: one small-batch recipe, carried over to the large batch step by step."""
    # Keras's momentum of 0.99 looks back over 100 updates, and the large batch has only a few
    # hundred: its moving statistics would lag behind its weights. 0.9 is fair to every arm.
    plain = partial(keras.layers.BatchNormalization, momentum=0.9)
    ghost = partial(kbb.GhostBatchNormalization, virtual_batch, momentum=0.9)
    return {
        "SB": Arm(regime.at(regime.batch), plain),
        "LB": Arm(regime.at(large, rule="none", stretch=1), plain),
        "+LR": Arm(regime.at(large, rule="sqrt", stretch=1), plain),
        "+GBN": Arm(regime.at(large, rule="sqrt", stretch=1), ghost),
        "+RA": Arm(regime.at(large, rule="sqrt", stretch=stretch), ghost),
    }


def network(shape, classes, norm):
    """Three strided convolutions, each followed by a normalization layer."""
    convolution = keras.layers.Conv1D if len(shape) == 2 else keras.layers.Conv2D
    model = keras.Sequential([keras.Input(shape)])
    for width in (5, 3, 3):
        model.add(convolution(32, width, strides=2, padding="same", use_bias=False))
        model.add(norm())
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(classes))
    return model


def sgd(rate):
    """Momentum and clipping, the same for every arm."""
    return keras.optimizers.SGD(rate, momentum=0.9, global_clipnorm=5.0)


def train(data, arm, seed, progress, make_model=network, make_optimizer=sgd):
    """A training, and the scores of the model at its end."""
    model, result = fit(data, arm, seed, progress, make_model, make_optimizer)
    return {**result, **scores(model, data, "train"), **scores(model, data, "test")}


def fit(data, arm, seed, progress, make_model, make_optimizer):
    """An ordinary compile and fit, with the four parts in their places; the model and numbers."""
    keras.utils.set_random_seed(seed)  # every arm of a seed starts from the same weights
    start = time.perf_counter()
    model = make_model(data.shape, data.classes, arm.norm)
    model.compile(
        optimizer=make_optimizer(arm.plan.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    distance = kbb.WeightDistance()
    curve = model.fit(
        **data.training(arm.plan.batch, seed),
        epochs=arm.plan.epochs,
        callbacks=keras.tree.flatten([distance, progress]),  # `progress` may be several
        verbose=0,
    ).history
    seconds = time.perf_counter() - start
    return model, {
        "updates": int(keras.ops.convert_to_numpy(model.optimizer.iterations)),
        "samples": arm.plan.samples,
        "seconds": seconds,
        "weight_distance": distance.history,
        "curve": {name: curve[name] for name in ("loss", "accuracy")},
    }


def scores(model, data, part):
    """Loss and accuracy in inference mode, with the moving statistics."""
    loss, accuracy = model.evaluate(**data.scoring(part), verbose=0)
    return {f"{part}_loss": loss, f"{part}_accuracy": accuracy}


def recipe(arm):
    """What an arm trains with, in plain types: it is kept, and compared on a second run."""
    plan = arm.plan
    return {
        "batch": plan.batch,
        "epochs": plan.epochs,
        "rates_from_update": {str(update): rate for update, _, rate in plan.drops},
        "normalization": arm.norm.func.__name__,
        "virtual_batch": arm.norm.args[0] if arm.norm.args else None,
    }


def train_all(data, arms, seeds, runs):
    """Train what is not finished yet. Seeds outside, arms inside: a full row as soon as can be."""
    results = []
    for seed in seeds:
        for name, arm in arms.items():
            label = f"seed {seed}  {name:4}"
            progress = ProgressLine(label, arm.plan.epochs)
            result = runs.get(name, seed, recipe(arm))
            note = "  (kept from an earlier run)"
            if result is None:
                note = ""
                result = train(data, arm, seed, progress)
                runs.keep(name, seed, recipe(arm), result)
            progress.finish(_report.line(result, data.split) + note)
            results.append({"arm": name, "seed": seed, **recipe(arm), **result})
    return results


def main():
    options = parse_options(__doc__)
    try:
        data = _data.load(options.dataset, options.data_dir, options.hold_out, options.examples)
        regime = small_batch_regime(options, data.examples)
        arms = five_arms(regime, options.large_batch, options.virtual_batch, options.stretch)
    except ValueError as error:
        raise SystemExit(f"closing_the_gap.py: {error}") from error
    print(f"{data.name}: {data.examples:,} training samples, scored on {data.scored_on}")
    for title, name in (("+LR and +GBN", "+GBN"), ("+RA", "+RA")):
        print(f"\nThe plan of {title}\n{arms[name].plan}")
    print()

    settings = {
        "data": str(options.data_dir or options.dataset),
        "trained_on": data.examples,
        "scored_on": data.scored_on,
        "quick": options.quick,
    }
    runs = Runs(options.output / "runs", settings, SOURCES)
    try:
        results = train_all(data, arms, options.seeds, runs)
    except KeyboardInterrupt:
        print(f"\nStopped. Finished trainings are in {runs.folder}; run it again to go on.")
        raise SystemExit(130) from None

    seeds = ", ".join(map(str, options.seeds))
    title = f"{data.name}, {data.scored_on}, seed{'s' * (len(options.seeds) > 1)} {seeds}"
    summary = _report.summarise(results)
    verdict = _report.verdict(results, data.scored, options.quick)
    context = {
        "title": title,
        "verdict": verdict,
        "summary": summary,
        "seeds": options.seeds,
        "hardware": hardware(),
        **runs.common,
    }
    _report.write(options.output, results, context)
    _figure.write(options.output / "figure.png", results, title, data.scored_on, options.quick)
    print(f"\n{_report.table(summary, title, data.split, options.quick)}\n\n{verdict}")
    print(f"\nPicture, CSV and JSON are in {options.output}.")


if __name__ == "__main__":
    main()
