"""Trainings that differ by their seed alone, compiled once."""

import time

import keras

from reproduction import training
from reproduction.networks.small import network


class RepeatedTraining:
    """Makes the training of any seed, as a `fit` of its own would.

    A model is kept, with what the backend compiled for it, and gets each seed's first weights. That
    is what saves time here: a training vectorised over seeds is slower on a CPU (convolutions with
    many kernels), and so is one in a compiled loop (docs/evidence/recipes.md).

    Args:
        data: To train and to score on.
        batch: Samples of an update.
        epochs: Passes over the data.
        norm: Makes a normalization layer.
        optimizer: An optimizer; its state is put back before each training.
    """

    def __init__(self, data, batch, epochs, norm, optimizer):
        self.data, self.batch, self.epochs = data, batch, epochs
        self.norm, self.optimizer = norm, optimizer
        self.model = None

    def __call__(self, seed, progress):
        """The training of a seed: its scores, updates and seconds."""
        model = self.start(seed)
        start = time.perf_counter()
        model.fit(
            **self.data.training(self.batch, seed),
            epochs=self.epochs,
            callbacks=keras.tree.flatten([progress]),  # `progress` may be several
            verbose=0,
        )
        return {
            "updates": training.updates_of(model),
            "samples": self.epochs * self.data.examples,
            "seconds": time.perf_counter() - start,
            **training.all_scores(model, self.data),
        }

    def start(self, seed):
        """The model as it is before the first update of a seed's training."""
        if self.model is None:
            self._compile()
        keras.utils.set_random_seed(seed)
        fresh = network(self.data.shape, self.data.classes, self.norm)
        self.model.set_weights(fresh.get_weights())
        for variable, value in zip(self.optimizer.variables, self.state, strict=True):
            variable.assign(value)
        return self.model

    def _compile(self):
        fresh = network(self.data.shape, self.data.classes, self.norm)
        self.model = training.compiled(fresh, self.optimizer)
        self.optimizer.build(fresh.trainable_variables)
        self.state = [keras.ops.convert_to_numpy(v) for v in self.optimizer.variables]
        # A step, since the first one draws random numbers: without it the first training of a
        # process would have another order of the samples than the same seed has later.
        few = self.data.x_train[: self.batch], self.data.y_train[: self.batch]
        self.model.fit(*few, batch_size=self.batch, verbose=0)
