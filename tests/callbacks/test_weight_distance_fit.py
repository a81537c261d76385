"""The laws that `WeightDistance` fits to its distances, and their picture."""

import sys

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance


def test_max_margin_norm_of_separable_logistic_regression():
    # w(t) = ln(t) w_hat + O(1) (Soudry et al., 2018). w_hat = (1/2, 0) solves min |w| over
    # y x . w >= 1 here: the first two points are its support, the third lies further out.
    points = np.array([[2, 1], [2, -1], [4, 3]], "float32")
    labels = np.array([[1], [0], [1]], "float32")
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((2,)), layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(0.5), keras.losses.BinaryCrossentropy(from_logits=True))
    callback = WeightDistance()
    x, y = np.tile(points * (2 * labels - 1), (400, 1)), np.tile(labels, (400, 1))
    model.fit(x, y, batch_size=3, shuffle=False, verbose=0, callbacks=[callback])
    found = callback.fit(start=40)
    assert found.slope == pytest.approx(0.5, rel=0.05)
    assert found.r2 > 0.999
    assert found.r2 > max(found.sqrt.r2, found.power.r2)


def test_fit_and_plot():
    import matplotlib
    import matplotlib.pyplot as plt

    callback = WeightDistance()
    updates = [1, 5, 10, 20, 50, 100]
    callback.history = {"update": updates, "distance": [9.0, 7.0, *np.log([10, 20, 50, 100])]}
    assert callback.fit().slope == pytest.approx(1.0)
    assert callback.fit(start=5).slope < 0.9
    with pytest.raises(ValueError, match=r"3 measurements at update 60 or later. Received: 1 of 6"):
        callback.fit(start=60)

    before = dict(matplotlib.rcParams)
    axes = callback.plot()
    assert dict(matplotlib.rcParams) == before
    assert axes.get_xscale() == "log"
    points, line = axes.get_lines()
    assert points.get_xdata().tolist() == updates
    # A log law of slope 1 and intercept 0 is 0 at update 1.
    np.testing.assert_allclose(line.get_ydata(), [0.0, np.log(100)], atol=1e-9)

    # The laws are of the updates from w_0, wherever the optimizer's count began.
    first, late = callback.fit(), WeightDistance()
    late.origin = 1000
    late.history = {**callback.history, "update": [1000 + update for update in updates]}
    assert late.fit() == first
    assert late.plot().get_lines()[0].get_xdata().tolist() == updates

    callback.history = {"update": [1, 2], "distance": [1.0, 2.0]}
    mine = plt.figure().add_subplot()
    assert callback.plot(mine) is mine
    assert len(mine.get_lines()) == 1
    plt.close("all")


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        WeightDistance().plot()
