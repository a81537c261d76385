"""What the methods for large batches bring, side by side: one table, one network, equal tuning.

Every row trains the same network on MNIST-1D for as many epochs, from the same initial weights for
each seed, with the same warm-up, decay and clipping; all at the large batch, but for SB and the
first epoch of "stages":

    SB            the small batch, SGD with momentum: what the others are to come up to
    SGD           the large batch, its rate chosen anew
    +LR           the large batch, SB's rate times the square root of the batch ratio
    GBN           SGD, with ghost batch normalization in the network
    LARS, PercentDelta, MCLR, CBLR    this package's layer-wise optimizers, weight decay 1e-4
    LARS wd=0     without the weight decay, which no other row has
    LAMB          keras.optimizers.Lamb
    noise         SGD, with the gradient noise of the small batch
    discard       SGD, without the 30 % smallest losses of each batch in the first half
    stages        SGD, with the first epoch at the small batch

Each row's rate is the best of five, each twice the one before, on 1000 held-out training samples
and with a seed that the table does not use; +LR alone has nothing to choose.

Result: MCLR, LARS and PercentDelta end above the small batch, LAMB and GBN between it and SGD; +LR
and stages change nothing; noise and CBLR lose; discard is as SGD or fails (docs/methods/index.md).
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import keras

import keras_bigbatch as kbb
from keras_bigbatch import optimizers
from keras_bigbatch.training import BatchStage, LargeBatchModel, fit_stages
from reproduction import collapse, methods_report, plotting, report, training
from reproduction.data import arrays
from reproduction.networks.small import network
from reproduction.remedies.layerwise import lamb, layerwise
from reproduction.runs import Case, ProgressLine, Runs
from reproduction.training import sgd

FOLDER = Path("results") / "methods"
# What decides the outcome.
SOURCES = [
    "methods.py",
    "remedies/layerwise.py",
    "training.py",
    "networks/small.py",
    "data/arrays.py",
]
SMALL_BATCH, LARGE_BATCH, VIRTUAL_BATCH = 40, 1000, 8  # samples; the demo's
EPOCHS, SEEDS = 100, [10, 11, 12]
QUICK_EPOCHS, QUICK_EXAMPLES = 3, 1000
HOLD_OUT, SWEEP_SEED = 1000, 0  # samples, and the seed that the rates are chosen with


@dataclass(frozen=True)
class Method:
    """What sets a row apart from SGD at the large batch.

    Args:
        middle: The middle one of the five rates that are tried; None where none is chosen.
        optimizer: Makes an optimizer of a rate.
        batch: Samples an update.
        virtual_batch: Samples of a ghost batch; None for plain batch normalization.
        gradient_noise: Variance of the samples' weights.
        discard: Fraction of the samples left out in the first half of the updates.
        small_epochs: Epochs at the small batch, at the start.
    """

    middle: float | None
    optimizer: Callable[[Any], Any] = sgd
    batch: int = LARGE_BATCH
    virtual_batch: int | None = None
    gradient_noise: float = 0.0
    discard: float = 0.0
    small_epochs: int = 0

    @property
    def rates(self):
        """What is tried."""
        return [] if self.middle is None else [self.middle * 2.0**k for k in range(-2, 3)]

    def recipe(self, rate, epochs, data):
        """What it trains with, in plain types: it is kept, and compared on a second run."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        del given["middle"], given["optimizer"]  # the rate says it; the source says it
        return {"rate": rate, "epochs": epochs, "trained_on": len(data.x_train), **given}


# By the middle one of the five rates that are tried, which comes from earlier trials.
METHODS = {
    "SB": Method(0.1, batch=SMALL_BATCH),
    "SGD": Method(0.5),
    "+LR": Method(None),
    "GBN": Method(0.5, virtual_batch=VIRTUAL_BATCH),
    "LARS": Method(0.05, layerwise(optimizers.LARS)),
    "LARS wd=0": Method(0.025, layerwise(optimizers.LARS, weight_decay=0.0)),
    "LAMB": Method(0.05, lamb),
    "PercentDelta": Method(0.2, layerwise(optimizers.PercentDelta)),
    "MCLR": Method(0.025, layerwise(optimizers.MCLR)),
    "CBLR": Method(0.2, layerwise(optimizers.CBLR)),
    "noise": Method(0.1, gradient_noise=LARGE_BATCH / SMALL_BATCH - 1),
    "discard": Method(1.0, discard=0.3),
    "stages": Method(0.5, small_epochs=1),
}


def train(data, method, rate, epochs, seed, progress):
    """An ordinary compile and fit, but for the one thing that the row is about."""
    keras.utils.set_random_seed(seed)  # every row of a seed starts from the same weights
    start = time.perf_counter()
    ghosts = method.virtual_batch
    norm = training.ghost_norm(ghosts) if ghosts else training.plain_norm()
    model = network(data.shape, data.classes, norm)
    large_epochs = epochs - method.small_epochs
    updates = math.ceil(data.examples / method.batch) * large_epochs
    if method.gradient_noise or method.discard:
        model = LargeBatchModel(
            model.inputs,
            model.outputs,
            gradient_noise=method.gradient_noise,
            discard_small_loss=method.discard,
            discard_updates=updates // 2 if method.discard else None,
            seed=seed,
        )
    training.compiled(model, method.optimizer(training.warmed_cosine(rate, updates)))
    fit = {"callbacks": [progress], "verbose": 0}
    if method.small_epochs:
        # By the square-root rule, the other way round.
        small_rate = kbb.schedules.scale_learning_rate(rate, LARGE_BATCH, SMALL_BATCH)
        stages = [
            BatchStage(SMALL_BATCH, method.small_epochs, small_rate),
            BatchStage(method.batch, large_epochs, training.warmed_cosine(rate, updates)),
        ]
        fit_stages(model, data.x_train, data.y_train, stages, **fit)
    else:
        model.fit(data.x_train, data.y_train, batch_size=method.batch, epochs=epochs, **fit)
    seconds = time.perf_counter() - start
    return {
        "updates": training.updates_of(model),
        "samples": epochs * data.examples,
        "seconds": seconds,
        **training.all_scores(model, data),
    }


def case(data, name, method, rate, epochs):
    """The training of a row."""
    recipe = method.recipe(rate, epochs, data)
    return Case(name, recipe, epochs, lambda *to: train(data, method, rate, epochs, *to))


def sweep(data, name, method, epochs, runs):
    """Held-out accuracy of each rate, in percent."""
    accuracies, shown = {}, f"{name:13}"  # the line grows rate by rate
    for rate in method.rates:
        progress = ProgressLine(shown, epochs)
        tried = case(data, name, method, rate, epochs)
        result, _ = runs.once(
            name,
            SWEEP_SEED,
            tried.recipe,
            lambda run=tried.run, line=progress: run(SWEEP_SEED, line),
        )
        accuracies[rate] = 100 * result["test_accuracy"]
        shown = methods_report.sweep_line(name, accuracies)
    ProgressLine(shown, epochs).finish("")
    return accuracies


def choose(options, runs):
    """Try the rates of each row on held-out samples; a quick run takes the middle ones untried."""
    swept = {name: method for name, method in METHODS.items() if method.rates}
    if options.quick:
        return {}, {name: method.middle for name, method in swept.items()}
    data = arrays.load("mnist1d", hold_out=HOLD_OUT)
    print(f"Rates, and the accuracy in % on {data.scored_on}, seed {SWEEP_SEED}")
    with runs.resumable():
        sweeps = {name: sweep(data, name, swept[name], options.epochs, runs) for name in swept}
    return sweeps, {name: methods_report.best(found) for name, found in sweeps.items()}


def main(options):
    """Choose a rate for each row, then train each with fresh seeds."""
    options.epochs = QUICK_EPOCHS if options.quick else EPOCHS
    options.seeds = options.seeds or (SEEDS[:1] if options.quick else SEEDS)
    folder = options.output or FOLDER
    sources = [*SOURCES, "collapse.py"] if options.collapse else SOURCES
    settings = {"data": "mnist1d", "draw": options.draw, "quick": options.quick}
    runs = Runs(folder / "runs", settings, sources)
    if options.collapse:
        collapse.run(options, runs, folder / "collapse")
        return
    sweeps, rates = choose(options, runs)
    rates["+LR"] = kbb.schedules.scale_learning_rate(rates["SB"], SMALL_BATCH, LARGE_BATCH)
    examples = QUICK_EXAMPLES if options.quick else None
    data = arrays.load("mnist1d", examples=examples, draw=options.draw)
    print(f"\nTrained on {data.examples:,} samples, scored on {data.scored_on}")
    cases = [case(data, name, METHODS[name], rates[name], options.epochs) for name in METHODS]
    results = runs.make(cases, options.seeds, lambda result: report.line(result, data.split))

    title = (
        f"{data.name}, batch {LARGE_BATCH} (SB: {SMALL_BATCH}), {options.epochs} epochs, "
        f"{data.scored_on}, {report.seeds(options.seeds)}"
    )
    summary = methods_report.summarise(results, sweeps, data.scored)
    said = report.QUICK if options.quick else methods_report.verdict(results, data.scored)
    context = {"title": title, "verdict": said, "summary": summary, "sweeps": sweeps}
    context |= {"seeds": options.seeds, **runs.context()}
    report.write(folder, results, context, methods_report.COLUMNS)
    size = (10, 0.7 + 0.38 * len(METHODS))
    with plotting.written(folder / "figure.png", title, options.quick, size) as picture:
        methods_report.draw(picture, results, sweeps)
    print(f"\n{methods_report.table(summary, title, options.quick)}\n\n{said}")
    print(f"\nPicture, CSV and JSON are in {folder}.")
