"""To callbacks, stages are one training; and a plateau ends a stage."""

import keras
import numpy as np
import pytest

from keras_bigbatch import WeightDistance
from keras_bigbatch.training import BatchStage, fit_stages, increase_on_plateau
from tests.training.stages import DOWN, UP, Record, arrays, kernel, linear_model

QUIET = {"verbose": 0, "shuffle": False}


class Script(keras.callbacks.Callback):
    """Puts given values into the logs, for those who come after it in the list."""

    def __init__(self, values, name="val_loss"):
        super().__init__()
        self.values, self.name = values, name
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]
        self.weights.append(kernel(self.model))


def test_begins_and_ends_once():
    record, custom = Record(), keras.callbacks.History()
    history = fit_stages(linear_model(), *arrays(), UP, callbacks=[record, custom], **QUIET)
    assert record.calls == ["begin", 0, 1, 2, "end"]
    assert record.last_logs == {"loss": history.history["loss"][-1]}
    assert history is custom


def test_a_single_callback_and_none():
    record = Record()
    fit_stages(linear_model(), *arrays(), UP, callbacks=record, **QUIET)
    assert record.updates == [10, 2, 2]
    fit_stages(linear_model(), *arrays(), UP, callbacks=None, **QUIET)


def test_early_stopping_spans_the_stages():
    """Epoch 1 is the best, in the first stage; patience ends in the second; no third begins."""
    script = Script([3.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    stopping = keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    stages = [BatchStage(20, 2), BatchStage(4, 3), BatchStage(10, 1)]
    model = linear_model()
    history = fit_stages(model, *arrays(), stages, callbacks=[script, stopping], **QUIET)
    assert history.epoch == [0, 1, 2, 3]
    assert model.stop_training
    assert stopping.stopped_epoch == 3
    np.testing.assert_array_equal(kernel(model), script.weights[1])
    assert np.abs(script.weights[3] - script.weights[1]).max() > 1e-3


def test_early_stopping_in_the_last_epoch_of_a_stage():
    stopping = keras.callbacks.EarlyStopping(patience=1)
    stages = [BatchStage(20, 2), BatchStage(4, 3)]
    callbacks = [Script([1.0, 2.0, 0.0, 0.0]), stopping]
    history = fit_stages(linear_model(), *arrays(), stages, callbacks=callbacks, **QUIET)
    assert history.epoch == [0, 1]


def test_stop_within_an_epoch():
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 4

    history = fit_stages(linear_model(), *arrays(), UP, callbacks=[Stop()], **QUIET)
    assert history.epoch == [0]


def test_checkpoints_are_numbered_by_the_epochs_of_the_whole(tmp_path):
    best = keras.callbacks.ModelCheckpoint(
        str(tmp_path / "best.weights.h5"), save_best_only=True, save_weights_only=True
    )
    each = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    script, model = Script([1.0, 3.0, 2.0]), linear_model()
    fit_stages(model, *arrays(), UP, callbacks=[script, best, each], **QUIET)
    assert sorted(path.name for path in tmp_path.glob("*.keras")) == [
        "1.keras",
        "2.keras",
        "3.keras",
    ]
    loaded = keras.saving.load_model(tmp_path / "2.keras")
    np.testing.assert_array_equal(kernel(loaded), script.weights[1])
    loaded.load_weights(tmp_path / "best.weights.h5")
    np.testing.assert_array_equal(kernel(loaded), script.weights[0])


def test_reduce_on_plateau_waits_across_stages():
    reduce = keras.callbacks.ReduceLROnPlateau(patience=2, factor=0.5)
    record = Record()
    callbacks = [Script([1.0, 2.0, 2.0, 2.0]), reduce, record]
    stages = [BatchStage(20, 2), BatchStage(4, 2)]
    fit_stages(linear_model(), *arrays(), stages, callbacks=callbacks, **QUIET)
    assert record.rates == [0.05, 0.05, 0.025, 0.025]


def test_rate_scheduler_sees_the_epochs_and_the_rates_of_the_stages():
    seen = []

    def schedule(epoch, rate):
        seen.append((epoch, round(rate, 6)))
        return rate / 2

    stages = [BatchStage(20, 2), BatchStage(4, 2, learning_rate=0.01)]
    callback = keras.callbacks.LearningRateScheduler(schedule)
    fit_stages(linear_model(), *arrays(), stages, callbacks=[callback], **QUIET)
    assert seen == [(0, 0.05), (1, 0.025), (2, 0.01), (3, 0.005)]


def test_weight_distance_goes_on():
    distance = WeightDistance(frequency=1)
    model = linear_model()
    fit_stages(model, *arrays(), DOWN, callbacks=[distance], **QUIET)
    assert distance.history["update"] == list(range(1, 23))
    np.testing.assert_allclose(
        distance.history["distance"][-1], np.linalg.norm(kernel(model)), rtol=1e-6
    )


def test_average_replaces_the_weights_at_the_end_only():
    """Between two stages it would be where the second starts from."""
    optimizer = keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.9)
    model, plain = linear_model(optimizer), linear_model(keras.optimizers.SGD(0.05))
    script, expected = Script([0.0] * 3), Script([0.0] * 3)
    fit_stages(model, *arrays(), UP, callbacks=[script], **QUIET)
    fit_stages(plain, *arrays(), UP, callbacks=[expected], **QUIET)
    np.testing.assert_array_equal(script.weights, expected.weights)
    assert np.abs(kernel(model) - kernel(plain)).max() > 1e-3


# --- plateaus --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "updates"),
    [
        # No plateau: the larger batches come at the end.
        ([9, 8, 7, 6, 5, 4], [10, 10, 10, 10, 2, 1]),
        # Two plateaus; one in the last stage would end nothing.
        ([9, 9, 9, 7, 8, 8, 8, 8, 8], [10, 10, 10, 2, 2, 2, 1, 1, 1]),
        # The second stage begins early and keeps its planned end.
        ([9, 9, 9, 8, 7, 6, 5], [10, 10, 10, 2, 2, 2, 1]),
    ],
)
def test_plateau_brings_the_next_stage_forward(losses, updates):
    stages = increase_on_plateau(4, 40, epochs=len(losses), factor=5, patience=2, monitor="loss")
    script, record = Script(losses, "loss"), Record()
    history = fit_stages(linear_model(), *arrays(), stages, callbacks=[script, record], **QUIET)
    assert record.updates == updates
    assert history.history["loss"] == losses
    assert record.calls == ["begin", *range(len(losses)), "end"]


def test_plateau_in_the_last_stage_ends_the_training():
    script = Script([9, 8, 8, 8], "loss")
    stages = [BatchStage(4, 1), BatchStage(20, 3, patience=1, monitor="loss")]
    history = fit_stages(linear_model(), *arrays(), stages, callbacks=[script], **QUIET)
    assert history.epoch == [0, 1, 2]


def test_early_stopping_wins_over_a_plateau():
    """Both in epoch 1: the training ends."""
    script, stopping = Script([9, 9, 0, 0]), keras.callbacks.EarlyStopping(patience=1)
    stages = [BatchStage(4, 3, patience=1), BatchStage(20, 1)]
    history = fit_stages(
        linear_model(), *arrays(), stages, arrays(), callbacks=[script, stopping], **QUIET
    )
    assert history.epoch == [0, 1]


def test_plateau_is_not_resumed(tmp_path):
    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    stages = [BatchStage(4, 3, patience=1, monitor="loss"), BatchStage(20, 1)]
    with pytest.raises(ValueError, match="cannot be resumed"):
        fit_stages(linear_model(), *arrays(), stages, callbacks=[backup])
