"""Models that preprocess in `fit`, as KerasHub's tasks do: instruments take the data of `fit`."""

import keras
import numpy as np
import pytest

from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch.layers import renew_statistics

RNG = np.random.default_rng(0)
RAW, Y = RNG.normal(size=(20, 3)).astype("float32"), RNG.normal(size=(20, 1)).astype("float32")
WEIGHTS = RNG.uniform(size=20).astype("float32")


class Task(keras.Model):
    """Takes twice what it is given, and half of the targets."""

    def __init__(self):
        super().__init__()
        self.norm = keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(1, kernel_initializer="ones")

    def call(self, inputs, training=False):
        return self.head(self.norm(inputs, training=training))

    def preprocess_samples(self, x, y=None, sample_weight=None):
        y = None if y is None else y / 2
        return keras.utils.pack_x_y_sample_weight(2 * x, y, sample_weight)


def task():
    model = Task()
    model(RAW)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["", "weights"])
def test_the_loss_is_that_of_what_the_model_is_given(weights):
    model = task()
    loss = DatasetLoss(model, Batches(RAW, Y, weights, batch_size=8))
    outputs = (2 * RAW.astype("float64")).sum(1) / np.sqrt(1 + model.norm.epsilon)
    errors = (outputs - Y[:, 0] / 2) ** 2
    assert loss.loss() == pytest.approx(np.mean(errors * (1 if weights is None else weights)))


def test_statistics_are_those_of_what_the_model_is_given():
    model = task()
    renew_statistics(model, RAW, batch_size=8, verbose=0)
    mean, variance = map(keras.ops.convert_to_numpy, model.norm.non_trainable_variables)
    np.testing.assert_allclose(mean, 2 * RAW.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, 4 * RAW.var(0), rtol=1e-5)
