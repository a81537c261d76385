"""That a callback's draws begin anew in each `fit`, as everything else of it does."""

import keras
import pytest

from keras_bigbatch.callbacks import GradientNoiseScale, LayerStrides
from tests.callbacks.fits import dense_model, fit
from tests.callbacks.test_gradient_noise_scale_callback import X, Y


class InOrder(keras.utils.PyDataset):
    """The data in batches of 50."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(50 * index, 50 * (index + 1))
        return X[rows], Y[rows]


def traces(noise):
    return noise.history["trace"]


def gradients(strides):
    return [layer["gradient"] for layer in strides.history["layers"].values()]


@pytest.mark.parametrize("data", [(X, Y), (InOrder(),)], ids=["arrays", "data set"])
def test_draws_begin_anew(data):
    noise = GradientNoiseScale(*data, small_batch=8, large_batch=32, draws=2, seed=3, verbose=0)
    strides = LayerStrides(*data, batch_size=8, batches=2, seed=3)
    model = dense_model(keras.optimizers.SGD(0.0))
    found = []
    for _ in range(2):
        fit(model, noise, strides, epochs=2)
        found.append((traces(noise), gradients(strides)))
    assert found[0] == found[1]
    (first, second), layers = found[0]
    assert first != second, "within a fit they go on"
    assert all(first != second for first, second in layers)
