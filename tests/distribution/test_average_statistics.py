"""`average_statistics` where there is one replica, and what it refuses."""

import keras
import numpy as np
import pytest

from keras_bigbatch.distribution import average_statistics
from tests.distribution import cases


def test_alone_it_changes_nothing():
    model = cases.compiled(cases.conv_model())
    cases.fit(model, epochs=1)
    before = model.get_weights()
    average_statistics(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    average_statistics(model.layers[1])  # a layer is a model too
    average_statistics(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))


@pytest.mark.parametrize("wrong", [None, "model", [keras.layers.Dense(1)]])
def test_what_is_no_model_is_refused(wrong):
    with pytest.raises(ValueError, match=r"\.module.*Received: an object of type"):
        average_statistics(wrong)
