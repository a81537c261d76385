"""Is anything lost between training with ghost batches and inference with stored statistics?"""

from dataclasses import dataclass
from functools import partial
from statistics import fmean

import keras_bigbatch as kbb
from reproduction import report, training
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.held_out import best
from reproduction.networks.small import network
from reproduction.questions.answers import Answers
from reproduction.recipes.demo import QUICK_EPOCHS, recipe_for, small_batch_regime
from reproduction.remedies.example_weighing import ExampleWeighing
from reproduction.repeated_training import RepeatedTraining
from reproduction.runs import Case

NAME = "mismatch"
DATA = "mnist1d"
SOURCES = (
    "questions/mismatch.py",
    "remedies/example_weighing.py",
    "repeated_training.py",
    "training.py",
    "networks/small.py",
)
STATISTICS = ("stored", "renewed")
WEIGHED = ", weighed"


@dataclass(frozen=True)
class Trained:
    """A kind of training: `batch` is "small" or "large", `ghosts` in samples, 0 for plain."""

    name: str
    batch: str
    ghosts: int

    def case(self, data, weights, quick=False):
        """The training, with its accuracies by statistics and weight, for `Runs`."""
        recipe = recipe_for(DATA, quick=quick)
        epochs = QUICK_EPOCHS if quick else recipe["epochs"]
        regime = small_batch_regime(
            recipe["small_batch"], epochs, data.examples, recipe["learning_rate"]
        )
        small = self.batch == "small"
        plan = (
            regime.at(regime.batch)
            if small
            else regime.at(recipe["large_batch"], rule="sqrt", stretch=1)
        )
        norm = training.ghost_norm(self.ghosts) if self.ghosts else training.plain_norm()
        optimizer = training.sgd(plan.learning_rate)
        train = RepeatedTraining(data, plan.batch, plan.epochs, norm, optimizer)
        scored = Scored(data, weights)

        def run(seed, progress):
            result = train(seed, progress)
            found = {"stored": scored(train.model)}
            kbb.layers.renew_statistics(train.model, data.x_train, plan.batch, verbose=0)
            return {**result, "accuracies": {**found, "renewed": scored(train.model)}}

        made_with = {**training.recipe(training.Arm(plan, norm)), "weights": list(weights)}
        return Case(self.name, made_with, plan.epochs, run)


class Scored:
    """The test accuracy of a network at each weight of a sample's own statistics.

    Args:
        data: To score on.
        weights: Of a sample.
    """

    def __init__(self, data, weights):
        self.data, self.weights, self.models = data, weights, {}

    def __call__(self, trained):
        """By the weight as text, as JSON has it."""
        found = {}
        for weight in self.weights:
            if weight not in self.models:
                norm = partial(ExampleWeighing, weight)
                model = network(self.data.shape, self.data.classes, norm)
                self.models[weight] = training.compiled(model, "sgd")
            self.models[weight].set_weights(trained.get_weights())
            scores = training.scores(self.models[weight], self.data, "test")
            found[f"{weight:g}"] = scores["test_accuracy"]
        return found


@dataclass(frozen=True)
class Score:
    """A training's accuracy, by its statistics and whether a sample's own are mixed in."""

    trained: Trained
    statistics: str
    weighed: bool

    @property
    def name(self):
        """As the hypotheses have it."""
        return f"{self.trained.name}: {self.statistics}{WEIGHED * self.weighed}"


class Mismatch(Criteria):
    """The criteria, with four arms a training."""

    def trainings(self):
        """The kinds of trainings."""
        return [Trained(**entry) for entry in self.content["arms"]]

    def _arms_of(self, entry, data):  # noqa: ARG002
        for statistics in STATISTICS:
            for weighed in (False, True):
                yield Score(Trained(**entry), statistics, weighed)


def make(options):
    """The weights on held-out samples, then the trainings."""
    criteria = Mismatch(NAME)
    answers = Answers(criteria, DATA, options, SOURCES)
    weights, kinds = criteria.content["tuning"]["weights"], criteria.trainings()
    sweeps = {} if options.quick else _sweeps(answers, kinds, weights)
    chosen = {kind.name: f"{weights[0]:g}" for kind in kinds}
    chosen |= {name: best(found) for name, found in sweeps.items()}
    data = arrays.load(DATA, draw=answers.draw)
    cases = [kind.case(data, weights, options.quick) for kind in kinds]
    results = [each for made in answers.make(cases, data) for each in scores(made, chosen)]
    answers.write(results, data, sweeps=sweeps, chosen=chosen)


def cases_of(options, content):  # noqa: ARG001 - the other questions need them
    """The trainings of published results."""
    criteria = Mismatch(NAME)
    data = arrays.load(DATA, draw=criteria.content["data"][DATA]["draw"])
    weights = criteria.content["tuning"]["weights"]
    return [kind.case(data, weights) for kind in criteria.trainings()]


def scores(made, chosen):
    """The four arms of a training.

    Args:
        made: Its result.
        chosen: By the kind of training, the weight of a sample, as text.
    """
    for statistics, by_weight in made["accuracies"].items():
        for suffix, weight in (("", "0"), (WEIGHED, chosen[made["arm"]])):
            name = f"{made['arm']}: {statistics}{suffix}"
            yield {**made, "arm": name, "test_accuracy": by_weight[weight]}


def _sweeps(answers, kinds, weights):
    """By the kind of training, the mean held-out accuracy in percent of each weight."""
    tuning = answers.criteria.content["tuning"]
    data = arrays.load(DATA, hold_out=tuning["hold_out"])
    runs = answers.runs(hold_out=tuning["hold_out"])
    made = runs.make(
        [kind.case(data, weights) for kind in kinds],
        tuning["seeds"],
        lambda result: report.line(result, data.split),
    )
    return {
        kind.name: {
            f"{weight:g}": 100
            * fmean(
                each["accuracies"]["renewed"][f"{weight:g}"]
                for each in made
                if each["arm"] == kind.name
            )
            for weight in weights
        }
        for kind in kinds
    }
