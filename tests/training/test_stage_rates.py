"""The rate of each update: floats, schedules, and what is kept."""

import json

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch.training import BatchStage, fit_stages
from tests.training.stages import ONES, UP, Record, arrays, linear_model, minus_sum_of_rates

DECAY = keras.optimizers.schedules.InverseTimeDecay(0.1, 1, 1.0)  # 0.1 / (1 + update)
QUIET = {"verbose": 0, "shuffle": False}


def decayed(*updates):
    return [0.1 / (1 + update) for update in updates]


class Sums(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = [0.0]

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(-self.model.get_weights()[0].item())


def sums(optimizer, stages, **more):
    """The sum of the rates in each epoch, for 8 samples."""
    model, callback = minus_sum_of_rates(optimizer), Sums()
    fit_stages(model, ONES, ONES, stages, callbacks=[callback], **QUIET, **more)
    return np.diff(callback.seen), model


@pytest.mark.parametrize(
    ("compiled", "rates", "expected"),
    [
        # Stages of 1, 2, 1 and 1 epochs with 4, 2, 2 and 4 updates.
        (0.5, [None, 0.25, None, 0.125], [2.0, 0.5, 0.5, 0.5, 0.5]),
        (
            0.5,
            [None, DECAY, None, 0.125],
            [2.0, sum(decayed(0, 1)), sum(decayed(2, 3)), sum(decayed(4, 5)), 0.5],
        ),
        (
            DECAY,
            [None, None, 0.25, DECAY],
            [
                sum(decayed(0, 1, 2, 3)),
                sum(decayed(4, 5)),
                sum(decayed(6, 7)),
                0.5,
                sum(decayed(0, 1, 2, 3)),
            ],
        ),
    ],
)
@pytest.mark.parametrize("wrap", [None, "scaled", "clipped"])
def test_every_update_has_the_rate_of_its_stage(compiled, rates, expected, wrap):
    optimizer = keras.optimizers.SGD(compiled)
    if wrap == "scaled":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0)
    if wrap == "clipped":
        optimizer = kbb.optimizers.ClipFirstUpdates(optimizer, global_clipnorm=1e6)
    sizes = [(2, 1), (4, 2), (4, 1), (2, 1)]
    stages = [BatchStage(*size, rate) for size, rate in zip(sizes, rates, strict=True)]
    found, _ = sums(optimizer, stages)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_schedules_of_stages_with_the_same_batch():
    """No shape changes between them, so nothing else makes the backend compile anew."""
    stages = [BatchStage(2, 1, 0.5), BatchStage(2, 1, DECAY), BatchStage(2, 1, DECAY)]
    found, _ = sums(keras.optimizers.SGD(0.1), stages)
    expected = sum(decayed(0, 1, 2, 3))
    np.testing.assert_allclose(found, [2.0, expected, expected], rtol=1e-5)


def test_model_that_was_trained_before():
    """A stage's schedule starts with the stage, whatever the optimizer has done."""
    model = minus_sum_of_rates(keras.optimizers.SGD(0.5))
    model.fit(ONES, ONES, batch_size=2, epochs=2, verbose=0)
    before = -model.get_weights()[0].item()
    np.testing.assert_allclose(before, 4.0, rtol=1e-6)
    fit_stages(model, ONES, ONES, [BatchStage(2, 1, DECAY)], **QUIET)
    after = -model.get_weights()[0].item()
    np.testing.assert_allclose(after - before, sum(decayed(0, 1, 2, 3)), rtol=1e-5)


def test_updates_are_counted_under_accumulation():
    """Two micro-steps an update, and a schedule of ours that knows."""
    rate = kbb.LearningRateScaler(DECAY, 4, 4, accumulation_steps=2)
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    stages = [BatchStage(2, 1), BatchStage(1, 1, rate)]  # 2 and 4 updates
    found, model = sums(optimizer, stages)
    np.testing.assert_allclose(found, [1.0, sum(decayed(0, 1, 2, 3))], rtol=1e-5)
    assert int(model.optimizer.iterations) == 6


def test_floats_leave_the_rate_settable():
    model = linear_model()
    fit_stages(model, *arrays(), [UP[0], BatchStage(20, 1, 0.01)], **QUIET)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.01, rtol=1e-6)
    model.optimizer.learning_rate = 0.5
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.5, rtol=1e-6)


def test_no_rates_leave_the_optimizer_alone():
    optimizer = keras.optimizers.SGD(DECAY)
    fit_stages(linear_model(optimizer), *arrays(), UP, **QUIET)
    assert optimizer.get_config()["learning_rate"]["class_name"] == "InverseTimeDecay"


def test_schedule_is_saved_with_the_model(tmp_path):
    model = linear_model()
    fit_stages(model, *arrays(), [UP[0], BatchStage(20, 1, DECAY)], **QUIET)
    config = model.optimizer.get_config()
    assert json.loads(json.dumps(config)) == config
    assert config["learning_rate"]["config"]["first"] == 10
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == config
    assert float(loaded.optimizer.learning_rate) == float(model.optimizer.learning_rate)


def test_rates_of_several_optimizers_are_refused():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    optimizer = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.05))
    )
    model, record = linear_model(optimizer), Record()
    with pytest.raises(ValueError, match="several"):
        fit_stages(model, *arrays(), [BatchStage(4, 1, 0.1)], **QUIET)
    fit_stages(model, *arrays(), UP, **QUIET)
    assert record.calls == []
