"""Are the minima of a small batch flatter, and are flatter minima better? Measured here.

The trainings are those of the demo, less its last:

    SB     the small batch that the recipe was tuned at
    LB     a large batch, the recipe unchanged
    +LR    and the rate times the square root of the ratio of the batches
    +GBN   and ghost batch normalization

At the end of each, over the training set: sharpness in the paper's two boxes, with the statistics
of the batch, in a random subspace, and relative to each weight; the Hessian's top eigenvalue and
trace; the gradient noise scale. And the loss on the straight line from SB to LB.

What came out, with ten seeds, is in docs/instruments.md.
"""

from pathlib import Path

import numpy as np

from reproduction import demo, minima_measures, minima_report, plotting, report, training
from reproduction.data import arrays
from reproduction.recipes.demo import recipe_for, small_batch_regime
from reproduction.runs import Case, Runs

FOLDER = Path("results") / "minima"
SOURCES = ("minima.py", "minima_measures.py", *demo.SOURCES)  # what decides the outcome
ARMS, QUICK_ARMS = ("SB", "LB", "+LR", "+GBN"), ("SB", "LB")
QUICK_EXAMPLES = 1000


def train_and_measure(data, arm, effort, seed, progress):
    """The training of the demo, and everything about where it ended."""
    result = training.train(data, arm, seed, progress)
    weights = progress.model.get_weights()
    model = minima_measures.plain_network(data)
    model.set_weights(weights)
    return {
        **result,
        "weight_distance": result["weight_distance"]["distance"][-1],
        **minima_measures.at_minimum(model, data, effort),
        "weights": [array.tolist() for array in weights],  # for the path
    }


def compare(data, arms, seeds, effort, runs):
    """Train and measure what is not finished yet; returns the trainings, and the paths by seed."""
    cases = [
        Case(
            name,
            {**training.recipe(arm), "effort": effort.settings()},
            arm.plan.epochs,
            lambda *to, arm=arm: train_and_measure(data, arm, effort, *to),
        )
        for name, arm in arms.items()
    ]
    results, paths, weights = runs.make(cases, seeds, line), {}, {}
    for result in results:
        weights[result["arm"], result["seed"]] = result.pop("weights")
    recipe = {"epochs": arms["SB"].plan.epochs, "effort": effort.settings()}
    with runs.resumable():
        for seed in seeds:
            ends = [
                [np.asarray(array, "float32") for array in weights[name, seed]]
                for name in ("SB", "LB")
            ]
            paths[seed], _ = runs.once(
                "path", seed, recipe, lambda ends=ends: minima_measures.between(*ends, data, effort)
            )
    return results, paths


def line(result):
    """One training in one line."""
    return (
        f"{100 * result['test_accuracy']:5.2f} %  sharpness {result['sharpness']:.2g} %  "
        f"top eigenvalue {result['top_eigenvalue']:.2g}  "
        f"{result['seconds']:.0f} + {result['measuring_seconds']:.0f} s"
    )


def main(options):
    """The demo's recipe, its arms measured where they end."""
    quick, recipe = options.quick, recipe_for("mnist1d", quick=options.quick)
    seeds = options.seeds or recipe["seeds"]
    examples = QUICK_EXAMPLES if quick else None
    data = arrays.load("mnist1d", examples=examples, draw=options.draw)
    small, large, epochs = (recipe[name] for name in ("small_batch", "large_batch", "epochs"))
    regime = small_batch_regime(small, epochs, data.examples, recipe["learning_rate"])
    every = demo.five_arms(regime, large, recipe["virtual_batch"], recipe["stretch"])
    arms = {name: every[name] for name in (QUICK_ARMS if quick else ARMS)}
    effort = minima_measures.QUICK if quick else minima_measures.Effort()
    folder = options.output or FOLDER
    print(f"{data.name}: {data.examples:,} training samples, scored on {data.scored_on}")
    settings = {"data": "mnist1d", "draw": options.draw, "quick": quick}
    runs = Runs(folder / "runs", settings, SOURCES)
    results, paths = compare(data, arms, seeds, effort, runs)

    notes = [
        f"{data.name}, batch {small} (SB) and {large} (the others), {epochs} epochs",
        f"{data.scored_on}, {report.seeds(seeds)}",
    ]
    title = ", ".join(notes)
    summary = minima_report.summarise(results)
    said = report.QUICK if quick else minima_report.verdict(results, data.scored)
    context = {"title": title, "verdict": said, "summary": summary, "paths": paths, "seeds": seeds}
    context |= {"notes": notes, "scored_on": data.scored_on, "command": options.as_typed}
    report.write(folder, results, context | runs.context(), minima_report.COLUMNS)
    with plotting.written(folder / "figure.png", title, quick, size=(12, 4.2)) as picture:
        minima_report.draw(picture, results, paths, data.scored_on)
    print(f"\n{minima_report.table(summary, paths, results, notes, quick)}\n\n{said}")
    print(f"\nPicture, CSV and JSON are in {folder}.")
