"""The demo's arms and others beside them, on test samples that nobody had looked at.

`criteria/controls.toml`: what ghost batches of 8 give the small batch, what a longer training gives
without them, what the paper's own ghost size does. `criteria/statistics.toml`: which moving
statistics are best. The files have the arms, seeds and hypotheses, and are older than the results.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from reproduction import report
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.demo import case
from reproduction.recipes.demo import QUICK_EPOCHS, recipe_for, small_batch_regime
from reproduction.runs import Runs
from reproduction.training import Arm, ghost_norm, plain_norm

NAMES = ("controls", "statistics")
DATA = "mnist1d"
SOURCES = ("training.py", "networks/small.py", "data/arrays.py", "recipes/demo.py")


@dataclass(frozen=True)
class ControlArm:
    """An arm as the criteria have it: `ghost_batch` is in samples, 0 for plain batch norm.

    What the layer's `statistics` and `momentum` are is the demo's choice, unless it is given.
    """

    name: str
    batch: str
    rule: str
    stretch: float
    ghost_batch: int
    statistics: str | None = None
    momentum: float | None = None

    def training(self, regime, large):
        """What to train with."""
        if self.batch == "small":
            plan = regime.at(regime.batch)
        else:
            plan = regime.at(large, rule=self.rule, stretch=self.stretch)
        norm = ghost_norm(self.ghost_batch) if self.ghost_batch else plain_norm()
        return Arm(plan, partial(norm, **self.chosen()))

    def chosen(self):
        """The arguments of the layer that are given."""
        given = {"statistics": self.statistics, "momentum": self.momentum}
        return {name: value for name, value in given.items() if value is not None}


class Controls(Criteria):
    """The criteria of one of `NAMES`."""

    def _arms_of(self, entry, data):  # noqa: ARG002
        yield ControlArm(**entry)


def cases_of(options, content=None):  # noqa: ARG001 - published results decide nothing here
    """The trainings, as the criteria have them."""
    return _made_of(options)[-1]


def _made_of(options):
    """Criteria, draw, data and cases."""
    criteria = Controls(options.criteria)
    recipe = recipe_for(DATA, quick=options.quick)
    # A quick run leaves the fresh test samples alone.
    draw = None if options.quick else criteria.content["data"][DATA]["draw"]
    data = arrays.load(DATA, draw=draw)
    epochs = QUICK_EPOCHS if options.quick else recipe["epochs"]
    regime = small_batch_regime(
        recipe["small_batch"], epochs, data.examples, recipe["learning_rate"]
    )
    cases = []
    for arm in criteria.arms(DATA):
        made = case(data, arm.name, arm.training(regime, recipe["large_batch"]))
        cases.append(criteria.stamped(replace(made, recipe={**made.recipe, **arm.chosen()})))
    return criteria, draw, data, cases


def main(options):
    """Make the trainings, then the report."""
    criteria, draw, data, cases = _made_of(options)
    seeds = options.seeds or criteria.seeds[: 1 if options.quick else None]
    folder = options.output or Path("results") / options.criteria
    runs = Runs(folder / "runs", {"data": DATA, "draw": draw, "quick": options.quick}, SOURCES)
    results = runs.make(cases, seeds, lambda each: report.line(each, data.split), time_left=True)
    context = {"criteria": criteria.digest, "data": DATA, "scored_on": data.scored_on}
    context |= {"seeds": seeds, "command": options.as_typed, **runs.context()}
    report.write(folder, report.lean(results, *report.COLUMNS), context)
    print(f"\nCSV and JSON are in {folder}.")
