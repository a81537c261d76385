"""The noise scale that ends a stage, measured: on what, and what data and trainings are refused."""

import math

import keras
import numpy as np
import pytest

from keras_bigbatch._backend import active
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch.diagnostics import gradient_noise_scale
from keras_bigbatch.training import (
    BatchStage,
    NoiseLimit,
    fit_stages,
    increase_on_noise,
)
from tests.training.stages import Batches, Record, arrays, linear_model
from tests.user_warnings import recorded

QUIET = {"verbose": 0, "shuffle": False}


class Measures(keras.callbacks.Callback):
    """Once, what `gradient_noise_scale` finds in the same epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            x, y = (array[:32] for array in arrays())
            with recorded():  # that it is unknown
                self.found = gradient_noise_scale(
                    self.model, x, y, 4, 20, draws=4, seed=5, verbose=0
                )
            self.logged = logs["noise_scale"]


def network():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def test_measures_what_the_diagnostic_does_and_changes_nothing():
    """On the samples that are trained with; the training is that without a limit, to the bit."""
    limit = NoiseLimit(4, 20, multiple=1e9, every=2, seed=5)
    more = {**QUIET, "validation_split": 0.2}
    reference = network()
    fit_stages(reference, *arrays(), [BatchStage(8, 5)], **more)
    model, measures = network(), Measures()
    stages = [BatchStage(8, 5, noise_limit=limit)]
    history = fit_stages(model, *arrays(), stages, callbacks=[measures], **more)
    for weight, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    low, found = measures.found.interval[0], measures.found.value
    np.testing.assert_allclose(measures.logged, low if math.isnan(found) else found, rtol=1e-6)
    logged = history.history["noise_scale"]
    assert len(set(logged[1:3])) == len(set(logged[3:])) == 1
    assert logged[2] != logged[3]


@pytest.mark.parametrize("is_function", [False, True])
@pytest.mark.parametrize(
    ("targets", "batches"),
    [
        # All samples are the same: there is no noise.
        (np.ones(160), [4, 4, 4]),
        # The weight is where the mean gradient is 0: there is nothing but noise.
        (np.random.default_rng(0).permutation([-1.0, 1.0] * 80), [4, 20, 20]),
    ],
    ids=["no noise", "all noise"],
)
def test_real_training(targets, batches, is_function):
    x, y = np.ones((160, 1), "float32"), targets.astype("float32")[:, None]
    asked = []

    class Data(Batches):
        def __len__(self):
            return 160 // self.batch

        def __getitem__(self, index):
            rows = slice(index * self.batch, (index + 1) * self.batch)
            return x[rows], y[rows]

    def make(batch):
        asked.append(batch)
        return Data(batch)

    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")]
    )
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    stages = increase_on_noise(4, 20, epochs=3, factor=5, multiple=0.1, every=1, draws=8)
    record, data = Record(), (make, None) if is_function else (x, y)
    history = fit_stages(model, *data, stages, callbacks=[record], **QUIET)
    assert history.history["batch_size"] == batches
    assert record.updates == [160 // batch for batch in batches]
    if is_function:
        # Once for all measurements, and once a stage.
        assert asked == [4, *sorted(set(batches))]


def test_unbuilt_model_and_compiled_once(monkeypatch):
    """Each loss that is made is compiled; stages share it."""
    made, make = [], DatasetLoss.__init__

    def counted(*arguments):
        made.append(arguments)
        make(*arguments)

    monkeypatch.setattr(DatasetLoss, "__init__", counted)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), "mse")
    stages = increase_on_noise(4, 16, epochs=4, every=1, multiple=1e-9)
    fit_stages(model, *arrays(), stages, **QUIET)
    assert len(made) == 1


X, Y = arrays()
LIMITED = [BatchStage(4, 9, noise_limit=NoiseLimit(4, 20)), BatchStage(20, 0)]


@pytest.mark.parametrize(
    ("x", "stages", "more", "message"),
    [
        (X, LIMITED, {"initial_epoch": 1}, "cannot be resumed"),
        (X, LIMITED, {"callbacks": keras.callbacks.BackupAndRestore("unused")}, "be resumed"),
        (X, LIMITED, {"class_weight": {0: 2.0}}, "without `class_weight`"),
        (X, [BatchStage(4, 0)], {}, "A stage of 0 epochs"),
        (X, [BatchStage(4, 1), BatchStage(20, 0)], {}, "A stage of 0 epochs"),
        (X, [*LIMITED, BatchStage(40, 0)], {}, "A stage of 0 epochs"),
        (Batches, [BatchStage(4, 9, noise_limit=NoiseLimit(4, 24))], {}, "two large batches"),
        (lambda batch: (Batches(batch)[i] for i in range(9)), LIMITED, {}, "read only once"),
    ],
)
def test_refuses_before_the_first_update(x, stages, more, message):
    model = linear_model()
    with pytest.raises(ValueError, match=message):
        fit_stages(model, x, Y if x is X else None, stages, verbose=0, **more)
    assert int(model.optimizer.iterations) == 0


def test_refuses_several_processes(monkeypatch):
    assert active().replicas.processes() == 1
    monkeypatch.setattr(active().replicas, "processes", lambda: 2)
    with pytest.raises(ValueError, match="for one process"):
        fit_stages(linear_model(), X, Y, LIMITED, verbose=0)
    fit_stages(linear_model(), X, Y, [BatchStage(20, 1)], verbose=0)


def test_data_set_of_unknown_length_that_is_too_small():
    class Unsized:
        def __init__(self, batch):
            self.batches = Batches(batch)

        def __iter__(self):
            return (self.batches[index] for index in range(10))

    stages = [BatchStage(4, 2, noise_limit=NoiseLimit(2, 24, every=1))]
    with pytest.raises(ValueError, match="two large batches"):
        fit_stages(
            linear_model(), lambda batch: (Unsized if batch == 2 else Batches)(batch), None, stages
        )
