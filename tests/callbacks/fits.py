"""Small fits, the slow way to measure a distance, and a crash."""

import keras
import numpy as np


class SlowReference(keras.callbacks.Callback):
    """Every weight of every update, on the host."""

    def on_epoch_begin(self, epoch, logs=None):
        self.start = getattr(self, "start", None) or self._weights()
        self.seen = getattr(self, "seen", {})

    def on_train_batch_begin(self, batch, logs=None):
        self.seen[int(self.model.optimizer.iterations)] = self._weights()

    def on_epoch_end(self, epoch, logs=None):
        self.seen[int(self.model.optimizer.iterations)] = self._weights()

    def _weights(self):
        return {
            v.path: np.asarray(keras.ops.convert_to_numpy(v.value), np.float64)
            for v in self.model.trainable_variables
        }

    def distance(self, update, layer=""):
        now = self.seen[update]
        return np.sqrt(
            sum(((now[p] - self.start[p]) ** 2).sum() for p in now if p.startswith(layer))
        )


class StopAt(keras.callbacks.Callback):
    """Interrupts the training as a crash would."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.where = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.where:
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == self.where:
            raise KeyboardInterrupt


def dense_model(optimizer=None, width=16, dropout=0.0, **compile_arguments):
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(width, "tanh", name="hidden"),
            layers.Dropout(dropout),
            layers.Dense(3, name="output"),
        ]
    )
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def fit(model, *callbacks, steps=10, epochs=3, shuffle=False):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4 * steps, 6)), rng.normal(size=(4 * steps, 3))
    return model.fit(
        x, y, batch_size=4, epochs=epochs, shuffle=shuffle, verbose=0, callbacks=list(callbacks)
    )


def assert_like_reference(callback, reference):
    expected = [reference.distance(update) for update in callback.history["update"]]
    np.testing.assert_allclose(callback.history["distance"], expected, rtol=1e-6)
