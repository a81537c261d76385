"""Is accuracy a function of the ghost batch alone? Batch times ghost batch, at equal updates.

Every cell of the factorial makes as many updates and has its own rate, the best of the same few on
held-out training samples. A cell whose ghost batch is the whole batch has plain batch norm.
"""

from dataclasses import dataclass
from functools import partial

from reproduction import training
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.held_out import best
from reproduction.questions.answers import Answers
from reproduction.recipes.demo import QUICK_EPOCHS, small_batch_regime
from reproduction.repeated_training import RepeatedTraining
from reproduction.runs import Case

NAME = "ghost-size"
DATA = "mnist1d"
SOURCES = ("questions/ghost_size.py", "repeated_training.py", "training.py", "networks/small.py")


@dataclass(frozen=True)
class Cell:
    """A batch and a ghost batch, in samples."""

    batch: int
    ghost: int

    @property
    def name(self):
        """As the hypotheses have it."""
        kind = "plain" if self.ghost == self.batch else f"ghosts of {self.ghost}"
        return f"batch {self.batch}, {kind}"

    def case(self, data, rate, updates, quick=False):
        """The training at a rate, for `Runs`."""
        epochs = QUICK_EPOCHS if quick else round(updates / -(-data.examples // self.batch))
        plan = small_batch_regime(self.batch, epochs, data.examples, rate).at(self.batch)
        plain = self.ghost == self.batch
        norm = training.plain_norm() if plain else training.ghost_norm(self.ghost)
        optimizer = training.sgd(plan.learning_rate)
        run = RepeatedTraining(data, self.batch, epochs, norm, optimizer)
        return Case(self.name, training.recipe(training.Arm(plan, norm)), epochs, run)


class GhostSizes(Criteria):
    """The criteria, with a cell a batch and ghost batch."""

    def _arms_of(self, entry, data):  # noqa: ARG002
        for ghost in entry["ghost_batches"]:
            yield Cell(entry["batch"], ghost)


def make(options):
    """The sweeps on held-out samples, then the trainings, each cell at its best rate."""
    criteria = GhostSizes(NAME)
    answers = Answers(criteria, DATA, options, SOURCES)
    tuning, updates = criteria.content["tuning"], criteria.content["runs"]["updates"]
    cells = criteria.arms(DATA)
    rates = dict.fromkeys((cell.name for cell in cells), tuning["rates"][1])
    sweeps = {}
    if not options.quick:
        data = arrays.load(DATA, hold_out=tuning["hold_out"])
        makers = {cell.name: partial(cell.case, data, updates=updates) for cell in cells}
        sweeps = answers.sweeps(makers, data)
        rates = {name: best(found) for name, found in sweeps.items()}
    data, cases = _cases(criteria, rates, answers.draw, options.quick)
    answers.write(answers.make(cases, data), data, sweeps=sweeps, rates=rates)


def cases_of(options, content):  # noqa: ARG001 - the other questions need them
    """The trainings of published results."""
    criteria = GhostSizes(NAME)
    draw = criteria.content["data"][DATA]["draw"]
    return _cases(criteria, content["rates"], draw)[1]


def _cases(criteria, rates, draw, quick=False):
    data, updates = arrays.load(DATA, draw=draw), criteria.content["runs"]["updates"]
    cells = criteria.arms(DATA)
    return data, [cell.case(data, rates[cell.name], updates, quick) for cell in cells]
