"""Close the generalization gap of large-batch training: the paper's Table 1 row, measured here.

Five arms share a network, a data set, and for each seed the initial weights:

    SB    the small batch that the recipe was tuned at
    LB    a large batch, the recipe unchanged
    +LR   and the rate times the square root of the ratio of the batches
    +GBN  and ghost batch normalization
    +RA   and the regime adapted: every phase of the recipe stretched, for more updates

Sizes are in samples, lengths in epochs.
"""

import textwrap
from pathlib import Path

from reproduction import plotting, report, training
from reproduction.data import arrays
from reproduction.recipes.demo import recipe_for, small_batch_regime
from reproduction.runs import Case, Runs
from reproduction.statistics import UNFITTED, caveats, difference, summarise
from reproduction.training import Arm, ghost_norm, plain_norm

FOLDER = Path("results") / "demo"
CONTROLS = (
    "A few seeds miss differences of some tenths. With ten, and with controls, a small part of the "
    "gap is left: docs/evidence/controls.md."
)
# What decides the outcome.
SOURCES = ("demo.py", "training.py", "networks/small.py", "data/arrays.py", "recipes/demo.py")


def five_arms(regime, large, virtual_batch, stretch):
    """The whole method: one small-batch recipe, carried over to the large batch step by step."""
    plain, ghost = plain_norm(), ghost_norm(virtual_batch)
    return {
        "SB": Arm(regime.at(regime.batch), plain),
        "LB": Arm(regime.at(large, rule="none", stretch=1), plain),
        "+LR": Arm(regime.at(large, rule="sqrt", stretch=1), plain),
        "+GBN": Arm(regime.at(large, rule="sqrt", stretch=1), ghost),
        "+RA": Arm(regime.at(large, rule="sqrt", stretch=stretch), ghost),
    }


def case(data, name, arm):
    """The training of an arm."""
    recipe = training.recipe(arm)
    return Case(name, recipe, arm.plan.epochs, lambda *to: training.train(data, arm, *to))


def main(options):
    """What the command line leaves open comes from the data set's recipe."""
    for name, value in recipe_for(options.dataset, options.data_dir, options.quick).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    try:
        data = arrays.load(
            options.dataset, options.data_dir, options.hold_out, options.examples, options.draw
        )
        batch, rate = options.small_batch, options.learning_rate
        regime = small_batch_regime(batch, options.epochs, data.examples, rate)
        arms = five_arms(regime, options.large_batch, options.virtual_batch, options.stretch)
    except ValueError as error:
        raise SystemExit(f"reproduction demo: {error}") from error
    print(f"{data.name}: {data.examples:,} training samples, scored on {data.scored_on}")
    for title, name in (("+LR and +GBN", "+GBN"), ("+RA", "+RA")):
        print(f"\nThe plan of {title}\n{arms[name].plan}")
    print()

    folder = options.output or FOLDER
    settings = {
        "data": str(options.data_dir or options.dataset),
        "trained_on": data.examples,
        "scored_on": data.scored_on,
        "draw": options.draw,
        "quick": options.quick,
    }
    runs = Runs(folder / "runs", settings, SOURCES)
    cases = [case(data, name, arm) for name, arm in arms.items()]
    results = runs.make(
        cases, options.seeds, lambda result: report.line(result, data.split), time_left=True
    )

    title = f"{data.name}, {data.scored_on}, {report.seeds(options.seeds)}"
    summary = summarise(results)
    said = report.QUICK if options.quick else verdict(results, data.scored)
    context = {"title": title, "verdict": said, "summary": summary, "seeds": options.seeds}
    context |= {"command": options.as_typed}
    report.write(folder, results, context | runs.context())
    with plotting.written(folder / "figure.png", title, options.quick) as picture:
        plotting.draw_arms(picture, results, data.scored_on)
    print(f"\n{table(summary, title, data.split, options.quick)}\n\n{textwrap.fill(said, 80)}")
    if options.dataset == "mnist1d" and options.data_dir is None and not options.quick:
        print(textwrap.fill(CONTROLS, 80))
    print(f"\nPicture, CSV and JSON are in {folder}.")


def table(summary, title, split="test", quick=False):
    """The paper's Table 1 row, an arm a line, and what each arm cost."""
    heading = ("", f"{split} accuracy, %", "training, %", "updates", "samples", "seconds")
    scores = [report.with_deviation(arm) for arm in summary.values()]
    costs = [cells for _, cells in report.costs(summary, seconds="{:.1f}")]
    lines = [
        f"{arm:4}{score:>18}{fit:>13}{updates:>10}{samples:>12}{seconds:>10}"
        for arm, score, fit, updates, samples, seconds in (
            heading,
            *zip(summary, scores, *costs, strict=True),
        )
    ]
    notes = [title, "mean ± standard deviation over the seeds"]
    return report.ruled(notes, lines[:1], lines[1:], quick=quick)


def verdict(results, scored):
    """What the numbers say, in one sentence."""
    gap, noise = difference(results, "SB", "LB", scored)
    if gap <= noise:
        text = f"No clear gap here: the large batch is within noise of the small one ({-gap:+z.1f})"
        if gap < -noise:
            text = f"No gap here: the large batch is {-gap:.1f} points better than the small one"
        return f"{text}, so there is nothing to close{caveats(results, UNFITTED)}."
    steps = [
        _effect(name, *difference(results, arm, before, scored))
        for name, arm, before in (
            ("The scaled rate", "+LR", "LB"),
            ("ghost batch normalization", "+GBN", "+LR"),
            ("the adapted regime", "+RA", "+GBN"),
        )
    ]
    left, noise = difference(results, "SB", "+RA", scored)
    return (
        f"{', '.join(steps)}: of a gap of {gap:.1f} points {left:z.1f} ({left - noise:z.1f} to "
        f"{left + noise:z.1f}) are left{caveats(results, UNFITTED)}."
    )


def _effect(name, points, noise):
    if abs(points) <= noise:
        return f"{name} makes no clear difference ({points:+z.1f})"
    return f"{name} {'gains' if points > 0 else 'loses'} {abs(points):.1f}"
