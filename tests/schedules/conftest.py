import keras
import numpy as np
import pytest


class Weight(keras.callbacks.Callback):
    """The only weight of the model before training and after every step of `fit`."""

    def on_train_begin(self, logs=None):
        self.values = [self.read()]

    def on_train_batch_end(self, batch, logs=None):
        self.values.append(self.read())

    def read(self):
        return float(self.model.get_weights()[0].squeeze())


@pytest.fixture
def fit_rates():
    """A function that trains for real and returns the rate that Keras used in every step of `fit`.

    The loss is the weight itself, so that its gradient is 1 and a step of SGD subtracts the rate.
    A step that only accumulates subtracts 0.
    """

    def train(learning_rate, examples, batch, epochs, accumulation_steps=None):
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
        )
        optimizer = keras.optimizers.SGD(
            learning_rate, gradient_accumulation_steps=accumulation_steps
        )
        model.compile(optimizer, loss=lambda y_true, y_pred: y_pred)
        weight = Weight()
        x = np.ones((examples, 1), "float32")
        model.fit(x, x, batch_size=batch, epochs=epochs, verbose=0, callbacks=[weight])
        return -np.diff(weight.values), model

    return train
