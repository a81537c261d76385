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
        more = self.fit(seed, keras.tree.flatten([progress]))  # `progress` may be several
        return {
            "updates": training.updates_of(model),
            "samples": self.samples,
            "seconds": time.perf_counter() - start,
            **training.all_scores(model, self.data),
            **more,
        }

    @property
    def samples(self):
        """That a training processes."""
        return self.epochs * self.data.examples

    def model_of(self, plain):
        """What is trained: the network, or a model around its layers."""
        return plain

    def fit(self, seed, callbacks):
        """Trains the model; what else is kept of it."""
        given = self.data.training(self.batch, seed)
        self.model.fit(**given, epochs=self.epochs, callbacks=callbacks, verbose=0)
        return {}

    def start(self, seed):
        """The model as it is before the first update of a seed's training."""
        if self.model is None:
            self._compile()
        keras.utils.set_random_seed(seed)
        fresh = network(self.data.shape, self.data.classes, self.norm)
        for variable, value in self.first:
            # The state of a layer that draws, which the seed above does not reach.
            variable.assign([seed, 0] if variable.dtype == "uint32" else value)
        self.plain.set_weights(fresh.get_weights())
        return self.model

    def _compile(self):
        self.plain = network(self.data.shape, self.data.classes, self.norm)
        self.model = training.compiled(self.model_of(self.plain), self.optimizer)
        self.optimizer.build(self.model.trainable_variables)
        variables = (*self.model.variables, *self.optimizer.variables)
        self.first = [(each, keras.ops.convert_to_numpy(each)) for each in variables]
        # A step, since the first one draws random numbers: without it the first training of a
        # process would have another order of the samples than the same seed has later.
        few = self.data.x_train[: self.batch], self.data.y_train[: self.batch]
        self.model.fit(*few, batch_size=self.batch, verbose=0)
