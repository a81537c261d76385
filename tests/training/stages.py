"""Small models and data for trainings in stages, a NumPy reference, and callbacks that look on."""

import keras
import numpy as np

from keras_bigbatch.training import BatchStage

SAMPLES = 40
UP = (BatchStage(4, 1), BatchStage(20, 2))  # 10, 2 and 2 updates
DOWN = (BatchStage(20, 1), BatchStage(4, 2))  # 2, 10 and 10 updates


def arrays(samples=SAMPLES):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(samples, 3)).astype("float32")
    y = x @ np.array([[1.0], [-2.0], [0.5]], "float32") + 0.1 * rng.normal(size=(samples, 1))
    return x, y.astype("float32")


def linear_model(optimizer=None, **compile_arguments):
    """One kernel that starts at 0."""
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def kernel(model):
    return model.get_weights()[0].astype("float64")


def numpy_sgd(stages, rate, momentum=0.9, reset=False):
    """The kernel of `linear_model` after stages without shuffling, in float64."""
    x, y = (array.astype("float64") for array in arrays())
    w, velocity = np.zeros((3, 1)), np.zeros((3, 1))
    for stage in stages:
        rate = stage.learning_rate or rate
        if reset:
            velocity = np.zeros((3, 1))
        for _ in range(stage.epochs):
            for start in range(0, len(x), stage.batch):
                rows = slice(start, start + stage.batch)
                error = x[rows] @ w - y[rows]
                gradient = 2 * x[rows].T @ error / len(error)
                velocity = momentum * velocity - rate * gradient
                w = w + velocity
    return w


def minus_sum_of_rates(optimizer):
    """A model whose gradient is 1, so that plain SGD's weight is minus the sum of all rates."""
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(optimizer, loss=lambda _, output: output)
    return model


ONES = np.ones((8, 1), "float32")


class Batches(keras.utils.PyDataset):
    """The samples in order, in batches; the last one may be smaller."""

    def __init__(self, batch):
        super().__init__()
        self.batch = batch

    def __len__(self):
        return -(-SAMPLES // self.batch)

    def __getitem__(self, index):
        return tuple(a[index * self.batch : (index + 1) * self.batch] for a in arrays())


class Record(keras.callbacks.Callback):
    """What a callback is told, and the optimizer's updates and rate at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.calls, self.updates, self.rates, self.steps = [], [], [], []

    def on_train_begin(self, logs=None):
        self.calls.append("begin")
        self._before = int(self.model.optimizer.iterations)

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(epoch)
        self.steps.append(self.params["steps"])

    def on_epoch_end(self, epoch, logs=None):
        now = int(self.model.optimizer.iterations)
        self.updates.append(now - self._before)
        self._before = now
        self.rates.append(round(float(self.model.optimizer.learning_rate), 6))

    def on_train_end(self, logs=None):
        self.calls.append("end")
        self.last_logs = logs
