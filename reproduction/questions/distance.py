"""Is the distance from the start a cause? Steer the rate so that it follows another batch's curve.

Beside the demo's five arms the large batch is steered to the small batch's distance at each epoch's
end, and small and large ones to the large batch's. If accuracy follows distance, it follows there.
Along the way of every training the accuracies, the distance and the seconds are kept.
"""

import time
from dataclasses import dataclass

import keras

from keras_bigbatch import WeightDistance
from reproduction import training
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.networks.small import network
from reproduction.questions.answers import Answers
from reproduction.recipes.demo import recipe_for, small_batch_regime
from reproduction.runs import Case, six_digits

NAME = "distance"
DATA = "mnist1d"
SOURCES = ("questions/distance.py", "training.py", "networks/small.py")
KEPT = ("rates", "along", "distance", "steered")


@dataclass(frozen=True)
class Arm:
    """An arm of the criteria: `ghost_batch` is in samples, 0 for plain batch norm.

    `follows` is the arm whose distance it is steered to, `like` the arm that it would be without
    that; empty for none.
    """

    name: str
    batch: str
    rule: str
    stretch: float
    ghost_batch: int
    follows: str = ""
    like: str = ""


class Distances(Criteria):
    """The criteria, with an arm an entry."""

    def _arms_of(self, entry, data):  # noqa: ARG002
        yield Arm(**entry)


class Steering(keras.callbacks.Callback):
    """Sets each epoch's rate: the recipe's times a factor that brings the distance to its target.

    It begins with the ratio of the first epoch's distances. Then it is multiplied by the ratio of
    the next target to the distance now, raised to `strength`: too near, the steps get longer; too
    far, shorter.

    Args:
        rates: The recipe's, an epoch each.
        targets: Distances at the epochs' ends; empty to leave the recipe's rates.
        unsteered: The first epoch's distance without steering.
        strength: How hard it steers.
        least: The smallest factor.
        most: The largest.
    """

    def __init__(self, rates, targets=(), unsteered=1.0, strength=0.0, least=1.0, most=1.0):
        super().__init__()
        self.rates, self.targets, self.strength = rates, targets, strength
        self.least, self.most = least, most
        self.factor = self._bounded(targets[0] / unsteered) if targets else 1.0
        self.distances, self.factors = [], []

    def on_epoch_begin(self, epoch, logs=None):  # noqa: ARG002 - Keras calls it so
        self.factors.append(self.factor)
        self.model.optimizer.learning_rate = self.rates[epoch] * self.factor

    def on_epoch_end(self, epoch, logs=None):
        # Of `WeightDistance`, which stands before it.
        self.distances.append(logs["weight_distance"])
        if self.targets and epoch + 1 < len(self.targets):
            missing = self.targets[epoch + 1] / self.distances[-1]
            self.factor = self._bounded(self.factor * missing**self.strength)

    def _bounded(self, factor):
        return min(max(factor, self.least), self.most)


class Along(keras.callbacks.Callback):
    """Keeps the scores at some epochs' ends, and the seconds of the training alone."""

    def __init__(self):
        super().__init__()
        self.rows, self.scoring = [], 0.0
        self.start = self.since = time.perf_counter()

    def on_test_begin(self, logs=None):  # noqa: ARG002
        self.since = time.perf_counter()

    def on_test_end(self, logs=None):  # noqa: ARG002
        self.scoring += time.perf_counter() - self.since

    def on_epoch_end(self, epoch, logs=None):
        if "val_accuracy" in logs:
            names = ("loss", "accuracy", "val_loss", "val_accuracy")
            row = {name: six_digits(logs[name]) for name in names}
            seconds = time.perf_counter() - self.start - self.scoring
            updates = training.updates_of(self.model)
            self.rows.append({"epoch": epoch + 1, "updates": updates, "seconds": seconds, **row})


def points(epochs, count):
    """Epochs from the first to the last that grow by a factor."""
    return sorted({round(epochs ** (i / (count - 1))) for i in range(count)})


def case(data, arm, regime, large, targets_of, settings):
    """The training of an arm, for `Runs`.

    Args:
        data: To train and to score on.
        arm: The criteria's.
        regime: The small batch's.
        large: The large batch.
        targets_of: Gives the distances of an arm with a seed.
        settings: Of the criteria, how to steer, and how often to score.
    """
    small = arm.batch == "small"
    plan = regime.at(regime.batch if small else large, rule=arm.rule, stretch=arm.stretch)
    norm = training.ghost_norm(arm.ghost_batch) if arm.ghost_batch else training.plain_norm()
    rates = by_epoch(plan)

    def run(seed, progress):
        steered = {}
        if arm.follows:
            first = targets_of(arm.like, seed)[0]
            steered = {"targets": targets_of(arm.follows, seed), "unsteered": first}
            steered |= {name: settings[name] for name in ("strength", "least", "most")}
        steering = Steering(rates, **steered)
        keras.utils.set_random_seed(seed)
        model = training.compiled(network(data.shape, data.classes, norm), training.sgd(rates[0]))
        along = Along()
        given = data.scoring("test")
        model.fit(
            **data.training(plan.batch, seed),
            epochs=plan.epochs,
            callbacks=[WeightDistance("epoch"), steering, along, *keras.tree.flatten([progress])],
            validation_data=(given["x"], given["y"]),
            validation_batch_size=given["batch_size"],
            validation_freq=points(plan.epochs, settings["points"]),
            verbose=0,
        )
        return {
            "updates": training.updates_of(model),
            "samples": plan.samples,
            "seconds": along.rows[-1]["seconds"],
            **training.all_scores(model, data),
            "along": along.rows,
            "distance": [six_digits(each) for each in steering.distances],
            "steered": [six_digits(each) for each in steering.factors] if steered else [],
        }

    recipe = {**training.recipe(training.Arm(plan, norm)), "follows": arm.follows}
    return Case(arm.name, recipe, plan.epochs, run)


def by_epoch(plan):
    """The rate of each epoch of a plan, whose drops are at epochs' ends."""
    an_epoch = plan.updates // plan.epochs
    return [float(plan.learning_rate(epoch * an_epoch)) for epoch in range(plan.epochs)]


def make(options):
    """The trainings: those that are followed come before those that follow them."""
    criteria = Distances(NAME)
    answers = Answers(criteria, DATA, options, SOURCES)
    runs = answers.runs()

    def targets_of(name, seed):
        recipe = next(each.recipe for each in cases if each.arm == name)
        return runs.get(name, seed, recipe)["distance"]

    data, cases = _cases(criteria, answers.draw, targets_of, options.quick)
    answers.write(answers.make(cases, data, runs), data, KEPT)


def cases_of(options, content):  # noqa: ARG001 - the other questions need them
    """The trainings of published results; the steered ones follow distances that are published."""
    criteria = Distances(NAME)
    distances = {(each["arm"], each["seed"]): each["distance"] for each in content["trainings"]}
    draw = criteria.content["data"][DATA]["draw"]
    return _cases(criteria, draw, lambda *whose: distances[whose])[1]


def _cases(criteria, draw, targets_of, quick=False):
    data, recipe = arrays.load(DATA, draw=draw), recipe_for(DATA, quick=quick)
    sizes = recipe["small_batch"], recipe["epochs"], data.examples, recipe["learning_rate"]
    given = small_batch_regime(*sizes), recipe["large_batch"], targets_of, criteria.content["runs"]
    return data, [case(data, arm, *given) for arm in criteria.arms(DATA)]
