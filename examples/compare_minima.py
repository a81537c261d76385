"""Are the minima of a small batch flatter, and are flatter minima better? Measured here.

The trainings are those of `closing_the_gap.py`, less its last:

    SB     the small batch that the recipe was tuned at
    LB     a large batch, the recipe unchanged
    +LR    and the rate times the square root of the ratio of the batches
    +GBN   and ghost batch normalization

At the end of each, over the training set: sharpness in the paper's two boxes, with the statistics
of the batch, in a random subspace, and relative to each weight; the Hessian's top eigenvalue and
trace; the gradient noise scale. And the loss on the straight line from SB to LB.

Result: in every measure of flatness the order is SB, +GBN, +LR, LB, and so is that of accuracy; but
+LR is ten times flatter than LB for no clear gain, and SB 35 times flatter than +GBN for none
(docs/instruments.md). 14 minutes with JAX on two busy cores.

Run it again after Ctrl-C, and it goes on where it stopped.
"""

import os
import types

from _options import COMMON, QUICK, RECIPES, base_parser, chosen_backend

os.environ["KERAS_BACKEND"] = chosen_backend()  # Keras reads it once, when it is imported

import _data
import _minima_figure
import _minima_measures
import _minima_report
import _report
import closing_the_gap
import numpy as np
from _progress import ProgressLine
from _runs import Runs, hardware

SOURCES = (  # what decides the outcome
    "compare_minima.py",
    "_minima_measures.py",
    "closing_the_gap.py",
    "_data.py",
    "_options.py",
)
ARMS, QUICK_ARMS = ("SB", "LB", "+LR", "+GBN"), ("SB", "LB")
QUICK_EXAMPLES = 1000


def train_and_measure(data, arm, seed, effort, progress):
    """The training of `closing_the_gap.py`, and everything about where it ended."""
    result = closing_the_gap.train(data, arm, seed, progress)
    weights = progress.model.get_weights()
    model = _minima_measures.plain_network(data)
    model.set_weights(weights)
    return {
        **result,
        "weight_distance": result["weight_distance"]["distance"][-1],
        **_minima_measures.at_minimum(model, data, effort),
        "weights": [array.tolist() for array in weights],  # for the path
    }


def compare(options, data, arms, effort, runs):
    """Train and measure what is not finished yet; returns the trainings, and the paths by seed."""
    results, paths = [], {}
    for seed in options.seeds:
        weights = {}
        for name, arm in arms.items():
            progress = ProgressLine(f"seed {seed}  {name:4}", arm.plan.epochs)
            recipe = {**closing_the_gap.recipe(arm), "effort": effort.settings()}
            task = (data, arm, seed, effort, progress)
            result, kept = runs.once(name, seed, recipe, lambda task=task: train_and_measure(*task))
            result = dict(result)
            weights[name] = [np.asarray(array, "float32") for array in result.pop("weights")]
            note = "  (kept from an earlier run)" if kept else ""
            progress.finish(line(result) + note)
            results.append({"arm": name, "seed": seed, **recipe, **result})
        ends = (weights["SB"], weights["LB"], data, effort)
        recipe = {"epochs": options.epochs, "effort": effort.settings()}
        path, _ = runs.once("path", seed, recipe, lambda ends=ends: _minima_measures.between(*ends))
        paths[seed] = path
    return results, paths


def line(result):
    """One training in one line."""
    return (
        f"{100 * result['test_accuracy']:5.2f} %  sharpness {result['sharpness']:.2g} %  "
        f"top eigenvalue {result['top_eigenvalue']:.2g}  "
        f"{result['seconds']:.0f} + {result['measuring_seconds']:.0f} s"
    )


def read_options():
    """The command line, and the demo's recipe."""
    options = base_parser(__doc__, "compare_minima").parse_args()
    recipe = {**COMMON, **RECIPES["mnist1d"], **(QUICK if options.quick else {})}
    seeds = options.seeds or recipe["seeds"]
    recipe |= vars(options) | {"seeds": list(dict.fromkeys(seeds))}
    return types.SimpleNamespace(**recipe)


def main():
    options = read_options()
    data = _data.load("mnist1d", examples=QUICK_EXAMPLES if options.quick else None)
    regime = closing_the_gap.small_batch_regime(options, data.examples)
    every = closing_the_gap.five_arms(
        regime, options.large_batch, options.virtual_batch, options.stretch
    )
    arms = {name: every[name] for name in (QUICK_ARMS if options.quick else ARMS)}
    effort = _minima_measures.QUICK if options.quick else _minima_measures.Effort()
    folder = options.output or _minima_report.FOLDER
    print(f"{data.name}: {len(data.x_train):,} training samples, scored on {data.scored_on}")
    runs = Runs(folder / "runs", {"data": "mnist1d", "quick": options.quick}, SOURCES)
    try:
        results, paths = compare(options, data, arms, effort, runs)
    except KeyboardInterrupt:
        print(f"\nStopped. Finished trainings are in {runs.folder}; run it again to go on.")
        raise SystemExit(130) from None

    seeds = ", ".join(map(str, options.seeds))
    title = [
        f"{data.name}, batch {options.small_batch} (SB) and {options.large_batch} (the others), "
        f"{options.epochs} epochs",
        f"{data.scored_on}, seed{'s' * (len(options.seeds) > 1)} {seeds}",
    ]
    summary = _minima_report.summarise(results)
    verdict = _minima_report.verdict(results, len(data.y_test), options.quick)
    context = {
        "title": ", ".join(title),
        "verdict": verdict,
        "summary": summary,
        "paths": paths,
        "seeds": options.seeds,
        "hardware": hardware(),
        **runs.common,
    }
    _report.write(folder, results, context, _minima_report.COLUMNS)
    _minima_figure.write(
        folder / "figure.png", results, paths, ", ".join(title), data.scored_on, options.quick
    )
    print(f"\n{_minima_report.table(summary, paths, results, title, options.quick)}\n\n{verdict}")
    print(f"\nPicture, CSV and JSON are in {folder}.")


if __name__ == "__main__":
    main()
