"""The trainings that the criteria name: their optimizers, and how long they are."""

import warnings

import keras

from keras_bigbatch.optimizers import scale_optimizer
from reproduction import training
from reproduction.repeated_training import RepeatedTraining
from reproduction.runs import Case, six_digits

# Where along a training its rate is written down.
SHARES = (0, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)


class Arms:
    """Makes trainings of arms for one data set.

    Args:
        data: To train and to score on.
        sizes: The data set's entry of the criteria.
        arguments: By optimizer, what the criteria fix of it.
        rates: By optimizer, the small batch's rate.
    """

    def __init__(self, data, sizes, arguments, rates):
        self.data, self.sizes, self.arguments, self.rates = data, sizes, arguments, rates

    def updates(self, batch, epochs):
        """The updates of a training."""
        return -(-self.data.examples // batch) * epochs

    def small_optimizer(self, name):
        """The recipe at the small batch."""
        updates = self.updates(self.sizes["small_batch"], self.sizes["epochs"])
        rate = training.warmed_cosine(self.rates[name], updates)
        return getattr(keras.optimizers, name)(rate, **self.arguments[name])

    def optimizer(self, arm, epochs):
        """The small batch's recipe, with what the arm moves of it."""
        small = self.small_optimizer(arm.optimizer)
        if arm.rule is None:
            return small
        with warnings.catch_warnings():
            # Rules that are not AdamW's and betas that are hardly any are what is tried here.
            warnings.simplefilter("ignore", UserWarning)
            moved = scale_optimizer(
                small,
                self.sizes["small_batch"],
                arm.batch,
                arm.rule,
                stretch=epochs / self.sizes["epochs"],
                betas=arm.betas,
                decay=arm.decay,
            ).get_config()
        names = ("learning_rate", *arm.moved)
        config = {**small.get_config(), **{name: moved[name] for name in names}}
        return type(small).from_config(config)

    def norm(self, arm):
        """What makes the arm's normalization layers."""
        ghosts = arm.virtual_batch
        return training.ghost_norm(ghosts) if ghosts else training.plain_norm()

    def recipe(self, arm, epochs, optimizer):
        """What a training is made with, in plain types: equal recipes make equal trainings."""
        config, updates = optimizer.get_config(), self.updates(arm.batch, epochs)
        rate = optimizer._learning_rate  # the schedule itself; the property is its value now
        numbers = ("weight_decay", "epsilon", "beta_1", "beta_2", "momentum")
        return {
            "optimizer": arm.optimizer,
            "batch": arm.batch,
            "epochs": epochs,
            "virtual_batch": arm.virtual_batch,
            "rates": [six_digits(float(rate(int(share * updates)))) for share in SHARES],
            **{name: six_digits(config[name]) for name in numbers if config.get(name)},
        }

    def case(self, arm, epochs=None):
        """A training for `Runs`, of the arm's length unless another is given."""
        epochs = epochs or round(self.sizes["epochs"] * (arm.stretch or 1))
        optimizer = self.optimizer(arm, epochs)
        run = RepeatedTraining(self.data, arm.batch, epochs, self.norm(arm), optimizer)
        return Case(arm.name, self.recipe(arm, epochs, optimizer), epochs, run)
