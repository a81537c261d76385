"""Table 1's row F1 on all of Fashion-MNIST: each arm at the best of the same rates."""

from dataclasses import dataclass, replace
from functools import partial

import keras

from reproduction import training
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.held_out import best
from reproduction.questions.answers import Answers
from reproduction.recipes.rows import row
from reproduction.runs import Case
from reproduction.settings import decayed, sgd

NAME = "fashion"
DATA = "fashion-mnist"
SOURCES = (
    "questions/fashion.py",
    "training.py",
    "settings.py",
    "recipes/rows.py",
    "networks/plain.py",
)
QUICK_SAMPLES = 400


@dataclass(frozen=True)
class Arm:
    """An arm of the criteria; `rate` is "tuned", or the rule from the small batch's to its own."""

    name: str
    batch: str
    ghosts: bool
    stretch: float
    rate: str

    def case(self, data, rate, runs):
        """The training, for `Runs`.

        Args:
            data: To train and to score on.
            rate: The arm's own first rate if it is tuned, else the small batch's.
            runs: The criteria's entry: the row, and the share of its epochs.
        """
        the_row = row(runs["row"])
        first = next(iter(the_row.learning_rate.values()))
        rates = {epoch: each * rate / first for epoch, each in the_row.learning_rate.items()}
        regime = replace(the_row, learning_rate=rates).regime(data.examples, runs["share"])
        rule = "sqrt" if self.rate == "sqrt" else "none"
        batch = the_row.small_batch if self.batch == "small" else the_row.large_batch
        plan = regime.at(batch, rule=rule, stretch=self.stretch)
        ghosts = training.ghost_norm(the_row.virtual_batch)
        arm = training.Arm(plan, ghosts if self.ghosts else training.plain_norm())
        network = decayed(the_row.network, the_row.weight_decay)

        def run(seed, progress):
            keras.backend.clear_session(free_memory=True)
            return training.train(data, arm, seed, progress, network, sgd(the_row))

        return Case(self.name, training.recipe(arm), plan.epochs, run)


class Fashion(Criteria):
    """The criteria, with an arm an entry."""

    def _arms_of(self, entry, data):  # noqa: ARG002
        yield Arm(**entry)


def make(options):
    """The sweeps on held-out samples, then the trainings."""
    criteria = Fashion(NAME)
    answers = Answers(criteria, DATA, options, SOURCES)
    runs, tuning = criteria.content["runs"], criteria.content["tuning"]
    if options.data_dir is None:
        raise SystemExit("reproduction: pass --data-dir with Fashion-MNIST's four idx files")
    load = partial(arrays.load, DATA, options.data_dir)
    arms, sweeps = criteria.arms(DATA), {}
    rates = {arm.name: tuning["rates"][1] for arm in arms}
    if options.quick:
        runs = {**runs, "share": 1e-9}
    else:
        data = load(hold_out=tuning["hold_out"])
        makers = {
            arm.name: partial(arm.case, data, runs=runs) for arm in arms if arm.rate == "tuned"
        }
        sweeps = answers.sweeps(makers, data)
        chosen = {name: best(found) for name, found in sweeps.items()}
        rates = {arm.name: chosen.get(arm.name, chosen["SB"]) for arm in arms}
    data = load(examples=QUICK_SAMPLES) if options.quick else load()
    cases = [arm.case(data, rates[arm.name], runs) for arm in arms]
    answers.write(answers.make(cases, data), data, sweeps=sweeps, rates=rates)


def cases_of(options, content):
    """The trainings of published results."""
    criteria, data = Fashion(NAME), arrays.load(DATA, options.data_dir)
    runs, rates = criteria.content["runs"], content["rates"]
    return [arm.case(data, rates[arm.name], runs) for arm in criteria.arms(DATA)]
