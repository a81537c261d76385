"""`ReduceLROnWeightDistance`: the rate after each epoch follows from the distances so far."""

import keras
import numpy as np
import pytest

from keras_bigbatch.callbacks import ReduceLROnWeightDistance, WeightDistance
from tests.callbacks.fits import SlowReference, StopAt, dense_model, fit

RATE = 0.01


def expected_rates(distances, thresholds, factor):
    """The rate in each epoch, from the distances at the epochs' ends."""
    farthest = np.maximum.accumulate(distances)
    drops = [sum(d <= far for d in thresholds) for far in farthest]
    return [RATE] + [RATE * factor**count for count in drops[:-1]]


def sgd():
    return keras.optimizers.SGD(RATE, momentum=0.9)


def test_rate_drops_when_the_distance_is_reached():
    keras.utils.set_random_seed(0)
    reference = SlowReference()
    thresholds = [0.05, 0.7]
    reduce = ReduceLROnWeightDistance(thresholds, factor=0.5, frequency="epoch")
    history = fit(dense_model(sgd()), reference, reduce, epochs=12).history
    distances = [reference.distance(10 * epoch) for epoch in range(1, 13)]
    np.testing.assert_allclose(history["weight_distance"], distances, rtol=1e-6)
    assert distances[0] < thresholds[1] < distances[-1]  # Or nothing is tested.
    expected = expected_rates(distances, thresholds, 0.5)
    assert len(set(expected)) > 2
    np.testing.assert_allclose(history["learning_rate"], expected, rtol=1e-6)


def test_two_distances_in_one_epoch_are_two_drops():
    model = dense_model(sgd())
    reduce = ReduceLROnWeightDistance((1e-3, 2e-3, 1e3))
    history = fit(model, reduce, epochs=2).history
    np.testing.assert_allclose(history["learning_rate"], [RATE, RATE / 100], rtol=1e-6)


def test_a_distance_in_between_counts_though_the_weights_came_back():
    reduce = ReduceLROnWeightDistance(np.float32(1.0))
    reduce.history = {"update": [3, 10], "distance": [1.5, 0.5]}
    assert reduce._reached() == 1


def test_out_of_reach_it_changes_nothing():
    def weights(*callbacks):
        keras.utils.set_random_seed(0)
        model = dense_model(sgd())
        fit(model, *callbacks)
        return model.get_weights()

    for one, other in zip(weights(ReduceLROnWeightDistance(1e6)), weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_interrupted_training_goes_on_with_its_drops(tmp_path):
    def run(folder, *stop, backup_first=False):
        keras.utils.set_random_seed(0)
        model = dense_model(sgd())
        callbacks = [
            ReduceLROnWeightDistance([0.7, 1.1], factor=0.5, path=folder / "distance.npz"),
            keras.callbacks.BackupAndRestore(folder / "backup"),
        ]
        order = callbacks[::-1] if backup_first else callbacks
        try:
            fit(model, *order, *stop, epochs=10)
        except KeyboardInterrupt:
            fit(model, *order, epochs=10)
        return model, callbacks[0].history

    whole, history = run(tmp_path / "whole")
    assert history["distance"][-1] > 1.1
    points = list(zip(history["update"], history["distance"], strict=True))
    for far, backup_first in ((0.7, False), (1.1, True)):
        dropped = next(update for update, distance in points if distance >= far)
        stop = StopAt(1 + (dropped - 1) // 10, 5)  # In the epoch after the drop.
        resumed, again = run(tmp_path / f"stop-{far}", stop, backup_first=backup_first)
        np.testing.assert_allclose(again["distance"], history["distance"], rtol=1e-5)
        assert float(resumed.optimizer.learning_rate) == float(whole.optimizer.learning_rate)
        for one, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_is_a_weight_distance():
    reduce = ReduceLROnWeightDistance(1e6, frequency=5, per_layer=True)
    fit(dense_model(sgd()), reduce)
    assert isinstance(reduce, WeightDistance)
    assert reduce.history["update"] == [5, 10, 15, 20, 25, 30]
    assert len(reduce.history["layers"]) == 2


def test_a_schedule_is_refused_before_the_training():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    with pytest.raises(ValueError, match="LearningRateSchedule"):
        fit(dense_model(keras.optimizers.SGD(schedule)), ReduceLROnWeightDistance(1.0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"distances": []}, "one or more distances"),
        ({"distances": [2.0, 1.0]}, "each larger"),
        ({"distances": [1.0, 1.0]}, "each larger"),
        ({"distances": 0.0}, "distances=0.0"),
        ({"distances": [1.0, float("nan")]}, "distances=nan"),
        ({"distances": "far"}, "distances='far'"),
        ({"distances": 1.0, "factor": 1.0}, "less than 1"),
        ({"distances": 1.0, "factor": -0.1}, "factor=-0.1"),
        ({"distances": 1.0, "frequency": 0}, "frequency"),
    ],
)
def test_bad_arguments_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        ReduceLROnWeightDistance(**arguments)
