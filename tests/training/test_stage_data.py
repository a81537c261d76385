"""What the stages train with: several inputs, weights, a part of the data, and in which order."""

import keras
import numpy as np
import pytest

from keras_bigbatch.training import BatchStage, fit_stages
from tests.training.stages import SAMPLES, UP, Record, arrays, kernel, linear_model


def two_inputs(structure):
    inputs = [keras.Input((2,), name="a"), keras.Input((1,), name="b")]
    outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(
        keras.layers.Concatenate()(inputs)
    )
    named = dict(zip("ab", inputs, strict=True)) if structure is dict else inputs
    model = keras.Model(named, outputs)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    x, y = arrays()
    parts = [x[:, :2], x[:, 2:]]
    return model, dict(zip("ab", parts, strict=True)) if structure is dict else parts, y


@pytest.mark.parametrize(("structure", "seed"), [(dict, None), (dict, 1), (list, 1)])
def test_several_inputs(structure, seed):
    model, x, y = two_inputs(structure)
    plain = linear_model()
    order = {"seed": seed, "shuffle": seed is not None, "verbose": 0}
    fit_stages(model, x, y, UP, **order)
    fit_stages(plain, *arrays(), UP, **order)
    np.testing.assert_allclose(kernel(model), kernel(plain), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "seed"), [("sample_weight", None), ("sample_weight", 1), ("class_weight", 1)]
)
def test_weights_of_samples_and_classes(kind, seed):
    """A weight of 2 for all is a rate of twice the size."""
    x, y = arrays()
    weight = np.full(SAMPLES, 2.0) if kind == "sample_weight" else {0: 2.0, 1: 2.0}
    order = {"seed": seed, "shuffle": seed is not None, "verbose": 0}
    weighted, doubled = linear_model(), linear_model(keras.optimizers.SGD(0.1, momentum=0.9))
    labels = (y[:, 0] > 0).astype("int32")
    fit_stages(weighted, x, labels, UP, **{kind: weight}, **order)
    fit_stages(doubled, x, labels, UP, **order)
    np.testing.assert_allclose(kernel(weighted), kernel(doubled), rtol=1e-5)


@pytest.mark.parametrize("seed", [None, 1])
def test_validation_split_and_frequency(seed):
    """The last quarter is not trained with, and is validated in epochs 1, 3, ... of the whole."""
    x, y = arrays()
    order = {"seed": seed, "shuffle": seed is not None, "verbose": 0}
    stages = [BatchStage(3, 1), BatchStage(15, 3)]
    split, explicit, record = linear_model(), linear_model(), Record()
    history = fit_stages(
        split, x, y, stages, callbacks=[record], validation_split=0.25, validation_freq=2, **order
    )
    expected = fit_stages(
        explicit, x[:30], y[:30], stages, (x[30:], y[30:]), validation_freq=2, **order
    )
    assert record.updates == record.steps == [10, 2, 2, 2]
    np.testing.assert_array_equal(kernel(split), kernel(explicit))
    assert history.history == expected.history
    assert len(history.history["val_loss"]) == 2


def test_validation_data_win_over_a_split():
    """As in `fit`: nothing is split off, and all samples are trained with."""
    record = Record()
    more = {"validation_data": arrays(), "validation_split": 0.5, "seed": 1, "verbose": 0}
    fit_stages(linear_model(), *arrays(), UP, callbacks=[record], **more)
    assert record.updates == record.steps == [10, 2, 2]


def test_steps_per_epoch():
    record = Record()
    stages = [BatchStage(4, 1, steps_per_epoch=3), BatchStage(20, 1)]
    fit_stages(linear_model(), *arrays(), stages, callbacks=[record], verbose=0)
    assert record.updates == record.steps == [3, 2]


class Kernels(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(kernel(self.model))


def test_seed_orders_each_epoch_by_itself():
    """The same orders, however the epochs are cut into stages and whatever else is random."""

    def run(stages, seed=5):
        model, kernels = linear_model(keras.optimizers.SGD(0.05)), Kernels()
        fit_stages(model, *arrays(), stages, callbacks=[kernels], seed=seed, verbose=0)
        return np.array(kernels.seen)

    whole = run([BatchStage(4, 3)])
    keras.utils.set_random_seed(77)
    np.testing.assert_array_equal(run([BatchStage(4, 1)] * 3), whole)
    assert np.abs(run([BatchStage(4, 3)], seed=6)[0] - whole[0]).max() > 1e-4
    # Twice the order of epoch 0 is not that of epochs 0 and 1.
    model = linear_model(keras.optimizers.SGD(0.05))
    for _ in range(2):
        fit_stages(model, *arrays(), [BatchStage(4, 1)], seed=5, verbose=0)
    assert np.abs(kernel(model) - whole[1]).max() > 1e-5
