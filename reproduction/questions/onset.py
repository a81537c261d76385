"""What sets the batch at which the gap begins: the updates that are left, or the gradient's noise?

The recipe's epochs are fixed and its rate follows the square root of the batch, while training sets
of several sizes are drawn from one generator. If a training needs so many updates, the batch at
which the error begins to grow is proportional to the training samples. If the batch must stay below
the gradient noise scale, it moves as that does.
"""

from dataclasses import dataclass
from itertools import product

import keras

import keras_bigbatch as kbb
from keras_bigbatch.diagnostics import gradient_noise_scale
from reproduction import training
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.questions.answers import Answers
from reproduction.recipes.demo import QUICK_EPOCHS, falling_rates
from reproduction.repeated_training import RepeatedTraining
from reproduction.runs import Case, six_digits

NAME = "onset"
DATA = "mnist1d"
SOURCES = ("questions/onset.py", "repeated_training.py", "training.py", "networks/small.py")


@dataclass(frozen=True)
class Cell:
    """Training samples, a batch and a ghost batch, 0 for plain batch norm.

    `noise` are the shares of the epochs at which the gradient noise scale is measured.
    """

    examples: int
    batch: int
    ghost: int
    noise: tuple[float, ...]

    @property
    def name(self):
        """Unique among the cells."""
        ghosts = f", ghosts of {self.ghost}" if self.ghost else ""
        return f"{self.examples} samples, batch {self.batch}{ghosts}"

    def case(self, data, runs):
        """The training, for `Runs`.

        Args:
            data: Of as many samples.
            runs: The criteria's entry: epochs, and the rate at a batch.
        """
        regime = kbb.Regime(
            batch=runs["base_batch"],
            epochs=runs["epochs"],
            examples=data.examples,
            learning_rate=falling_rates(runs["rate"], runs["epochs"]),
        )
        plan = regime.at(self.batch, rule="sqrt", stretch=1)
        norm = training.ghost_norm(self.ghost) if self.ghost else training.plain_norm()
        train = RepeatedTraining(
            data, self.batch, runs["epochs"], norm, training.sgd(plan.learning_rate)
        )

        def run(seed, progress):
            noise = NoiseScale(data, [round(share * runs["epochs"]) for share in self.noise])
            result = train(seed, [noise, progress])
            return {**result, "noise": noise.found}

        recipe = {"examples": data.examples, **training.recipe(training.Arm(plan, norm))}
        return Case(self.name, {**recipe, "noise_at": list(self.noise)}, runs["epochs"], run)


class NoiseScale(keras.callbacks.Callback):
    """Measures the gradient noise scale at the end of some epochs.

    Args:
        data: To train on.
        epochs: Which.
    """

    def __init__(self, data, epochs):
        super().__init__()
        self.data, self.epochs = data, epochs
        self.found = []

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002 - Keras calls it so
        if epoch + 1 in self.epochs:
            given = self.data.x_train, self.data.y_train
            scale = gradient_noise_scale(self.model, *given, 40, 1000, verbose=0, seed=epoch)
            self.found.append({"epoch": epoch + 1, "value": six_digits(scale.value)})


class Onsets(Criteria):
    """The criteria, with a cell a batch and a number of samples."""

    def _arms_of(self, entry, data):  # noqa: ARG002
        measured = self.content["noise"]
        for ghost, batch in product(entry["ghosts"], entry["batches"]):
            if ghost < batch:
                at = measured["at"] if batch == measured["batch"] and not ghost else []
                yield Cell(entry["examples"], batch, ghost, tuple(at))


def make(options):
    """The trainings."""
    criteria = Onsets(NAME)
    answers = Answers(criteria, DATA, options, SOURCES)
    more = {"epochs": QUICK_EPOCHS} if options.quick else {}
    data, cases = _cases(criteria, answers.draw, **more)
    answers.write(answers.make(cases, data), data, ("examples", "noise"))


def cases_of(options, content):  # noqa: ARG001 - the other questions need them
    """The trainings of published results."""
    criteria = Onsets(NAME)
    return _cases(criteria, criteria.content["data"][DATA]["draw"])[1]


def _cases(criteria, draw, **more):
    """One of the training sets, which share their test samples, and the trainings."""
    cells, entry = criteria.arms(DATA), criteria.content["data"][DATA]
    sets = {
        examples: arrays.drawn_mnist1d(examples, entry["training_draw"], draw)
        for examples in sorted({cell.examples for cell in cells})
    }
    runs = {**criteria.content["runs"], **more}
    cases = [cell.case(sets[cell.examples], runs) for cell in cells]
    return next(iter(sets.values())), cases
