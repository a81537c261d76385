"""Stages make the updates that they promise, and are one training to everyone who looks on."""

import keras
import numpy as np
import pytest

from keras_bigbatch.training import BatchStage, fit_stages
from tests.problems import compiles
from tests.training.stages import (
    DOWN,
    SAMPLES,
    UP,
    Batches,
    Record,
    arrays,
    kernel,
    linear_model,
    numpy_sgd,
)

BACKEND = keras.backend.backend()
QUIET = {"verbose": 0, "shuffle": False}


def tensorflow_data(batch):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays()).batch(batch)


def rebatched_data(batch):
    import tensorflow as tf

    # Keras warns of a data set that does not know its length.
    known = tf.data.experimental.assert_cardinality(SAMPLES // batch)
    return tensorflow_data(7).rebatch(batch).apply(known)


def torch_data(batch):
    import torch

    samples = torch.utils.data.TensorDataset(*map(torch.from_numpy, arrays()))
    return torch.utils.data.DataLoader(samples, batch_size=batch)


def only_on(backend, make):
    skip = pytest.mark.skipif(backend != BACKEND, reason=f"a data set of {backend}'s")
    return pytest.param(make, marks=skip)


@pytest.mark.parametrize("stages", [UP, DOWN], ids=["up", "down"])
@pytest.mark.parametrize(
    "data",
    [
        None,
        Batches,
        only_on("tensorflow", tensorflow_data),
        only_on("tensorflow", rebatched_data),
        only_on("torch", torch_data),
    ],
)
def test_updates_and_weights_of_each_stage(stages, data):
    """Against NumPy in float64: batches, rates, momentum from stage to stage."""
    stages = [stages[0], BatchStage(stages[1].batch, 2, learning_rate=0.02)]
    model, record = linear_model(), Record()
    x, y = (data, None) if data else arrays()
    history = fit_stages(model, x, y, stages, callbacks=[record], **QUIET)
    assert record.updates == [SAMPLES // stage.batch for stage in [stages[0], *stages[1:] * 2]]
    assert record.steps == record.updates
    np.testing.assert_allclose(kernel(model), numpy_sgd(stages, 0.05), rtol=2e-5)
    assert np.abs(numpy_sgd(stages, 0.05, reset=True) - numpy_sgd(stages, 0.05)).max() > 1e-3
    assert history is model.history
    assert history.epoch == [0, 1, 2]
    assert len(history.history["loss"]) == 3


@pytest.mark.parametrize(("stages", "right"), [(UP, [10, 2, 2]), (DOWN, [2, 10, 10])])
@pytest.mark.filterwarnings("ignore:[^.]*Your input ran out of data")
def test_batch_changed_within_fit_makes_other_updates(stages, right):
    """What `fit_stages` is for. When this fails, Keras has mended it: say so in the docs."""

    class Changing(Batches):
        epoch = 0

        def on_epoch_end(self):
            self.epoch += 1
            self.batch = stages[min(self.epoch, 1)].batch

    record = Record()
    linear_model().fit(Changing(stages[0].batch), epochs=3, callbacks=[record], **QUIET)
    assert record.updates != right


@pytest.mark.parametrize("samples", [SAMPLES, SAMPLES - 3])
def test_one_stage_is_fit(samples):
    """To the bit, shuffling and a partial batch included."""
    x, y = arrays(samples)
    model, reference = linear_model(), linear_model()
    keras.utils.set_random_seed(1)
    expected = reference.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    keras.utils.set_random_seed(1)
    history = fit_stages(model, x, y, [BatchStage(8, 2)], verbose=0).history
    np.testing.assert_array_equal(kernel(model), kernel(reference))
    assert history == expected


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05, momentum=0.9))


def averaged():
    return keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.5)


def accumulating():
    return keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=4)


OPTIMIZERS = [keras.optimizers.Adam, scaled, averaged, accumulating]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda make: make.__name__)
def test_stages_of_equal_batches_are_one_fit(optimizer):
    """Whatever state the optimizer has: accumulated gradients, averages, the loss's scale."""
    x, y = arrays()
    model, reference = linear_model(optimizer()), linear_model(optimizer())
    record, expected = Record(), Record()
    reference.fit(x, y, batch_size=4, epochs=3, callbacks=[expected], **QUIET)
    fit_stages(model, x, y, [BatchStage(4, 1), BatchStage(4, 2)], callbacks=[record], **QUIET)
    np.testing.assert_array_equal(kernel(model), kernel(reference))
    assert record.updates == expected.updates
    assert record.calls == expected.calls
    state = zip(model.optimizer.variables, reference.optimizer.variables, strict=True)
    for variable, other in state:
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (variable, other)))
    assert "finalize_variable_values" not in vars(model.optimizer)


@pytest.mark.parametrize(
    "compiled",
    [
        {"jit_compile": False},
        pytest.param({"jit_compile": True}, marks=compiles),
        {"run_eagerly": True},
        pytest.param(
            {"steps_per_execution": 2},
            marks=pytest.mark.skipif(BACKEND == "torch", reason="Keras refuses it on torch"),
        ),
    ],
    ids=str,
)
def test_compiled_or_not(compiled):
    model, record = linear_model(**compiled), Record()
    fit_stages(model, *arrays(), UP, callbacks=[record], **QUIET)
    assert record.updates == [10, 2, 2]
    np.testing.assert_allclose(kernel(model), numpy_sgd(UP, 0.05), rtol=2e-5)


def test_unbuilt_model():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    record = Record()
    fit_stages(model, *arrays(), UP, callbacks=[record], **QUIET)
    assert record.updates == [10, 2, 2]


def test_progress_counts_all_epochs(capsys):
    fit_stages(linear_model(), *arrays(), UP, verbose=1)
    printed = capsys.readouterr().out
    assert [f"Epoch {epoch}/3" in printed for epoch in (1, 2, 3)] == [True] * 3
    assert "10/10" in printed
    assert "2/2" in printed


X, Y = arrays()
GOOD = [BatchStage(4, 2)]
PLATEAU = [BatchStage(4, 2, patience=1)]


@pytest.mark.parametrize(
    ("x", "y", "stages", "more", "message"),
    [
        (X, Y, [], {}, "one `BatchStage` or more"),
        (X, Y, [(4, 2)], {}, "one `BatchStage` or more"),
        (X, Y, [BatchStage(41, 1)], {}, "larger than the data set"),
        (X, Y, [BatchStage(31, 1)], {"validation_split": 0.25}, "30 samples to train with"),
        (X, Y, GOOD, {"initial_epoch": 2}, "less than the 2 epochs"),
        (X, Y, GOOD, {"initial_epoch": -1}, "an integer of 0 or more"),
        (Batches(4), None, GOOD, {}, "pass a function of the batch size"),
        (X.tolist(), Y, GOOD, {}, "must be arrays"),
        (Batches, Y, GOOD, {}, "`y` needs arrays"),
        (Batches, None, GOOD, {"sample_weight": Y[:, 0]}, "`sample_weight` needs arrays"),
        (Batches, None, GOOD, {"validation_split": 0.5}, "`validation_split` needs arrays"),
        (Batches, None, GOOD, {"seed": 1}, "`seed` needs arrays"),
        (lambda batch: (X, Y), None, GOOD, {}, "must return a data set"),
        (X, Y, GOOD, {"seed": 1, "shuffle": False}, "it needs shuffle=True"),
        (X, Y, [BatchStage(4, 1, steps_per_epoch=2)], {"seed": 1}, "without `steps_per_epoch`"),
        (X, Y, PLATEAU, {}, "needs `validation_data`"),
        (X, Y, PLATEAU, {"validation_split": 0.5, "initial_epoch": 1}, "cannot be resumed"),
    ],
)
def test_refuses_with_a_reason(x, y, stages, more, message):
    model = linear_model()
    with pytest.raises(ValueError, match=message):
        fit_stages(model, x, y, stages, verbose=0, **more)
    assert int(model.optimizer.iterations) == 0


def test_refuses_a_model_that_is_not_compiled():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="must be compiled"):
        fit_stages(model, X, Y, GOOD)
