"""An interrupted training in stages, resumed, ends with the weights of an uninterrupted one."""

import functools

import keras
import numpy as np
import pytest

from keras_bigbatch.training import BatchStage, fit_stages
from tests.callbacks.fits import StopAt
from tests.training.stages import Batches, Record, arrays, kernel, linear_model

STAGES = (BatchStage(8, 2), BatchStage(20, 2, learning_rate=0.1), BatchStage(8, 2))
DECAY = keras.optimizers.schedules.InverseTimeDecay(0.1, 3, 0.5)
BY_SCHEDULE = (BatchStage(8, 2), BatchStage(20, 2, learning_rate=DECAY), BatchStage(8, 2))


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.05))


def averaged():
    return keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.5)


def compiled_with_a_schedule():
    return keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.05, 40), momentum=0.9)


def run(stages, *callbacks, optimizer=None, random=0, data=None, **more):
    keras.utils.set_random_seed(random)
    model = linear_model(optimizer() if optimizer else None)
    x, y = (data, None) if data else arrays()
    if data:
        more["shuffle"] = False
    else:
        more.setdefault("seed", 7)
    history = fit_stages(model, x, y, stages, callbacks=list(callbacks), verbose=0, **more)
    return kernel(model), history


@functools.cache
def uninterrupted(stages, optimizer=None, data=None):
    return run(stages, optimizer=optimizer, data=data)[0]


# At the beginning of an epoch, a stage's first or not; and in the middle of one.
@pytest.mark.parametrize(
    ("stages", "stop"),
    [
        (STAGES, (1, 0)),
        (STAGES, (2, 0)),
        (STAGES, (3, 1)),
        (BY_SCHEDULE, (2, 0)),
        (BY_SCHEDULE, (3, 1)),
        (BY_SCHEDULE, (5, 2)),
    ],
    ids=lambda value: str(value) if value[0] in range(6) else "",
)
def test_interrupted_and_resumed(stages, stop, tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    whole = uninterrupted(stages)
    with pytest.raises(KeyboardInterrupt):
        run(stages, backup(), StopAt(*stop))
    record = Record()
    resumed, history = run(stages, backup(), record, random=99)
    assert history.epoch == list(range(stop[0], 6))
    assert record.calls == ["begin", *history.epoch, "end"]
    assert record.updates == [5, 5, 2, 2, 5, 5][stop[0] :]
    np.testing.assert_array_equal(resumed, whole)
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("optimizer", "data"), [(scaled, None), (averaged, Batches), (compiled_with_a_schedule, None)]
)
def test_state_of_any_optimizer_is_resumed(optimizer, data, tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    whole = uninterrupted(STAGES, optimizer, data)
    with pytest.raises(KeyboardInterrupt):
        run(STAGES, backup(), StopAt(3, 1), optimizer=optimizer, data=data)
    resumed, _ = run(STAGES, backup(), optimizer=optimizer, data=data, random=99)
    np.testing.assert_array_equal(resumed, whole)


@pytest.mark.parametrize(("stages", "epoch"), [(STAGES, 3), (BY_SCHEDULE, 2), (BY_SCHEDULE, 5)])
def test_initial_epoch_goes_on_from_a_saved_model(stages, epoch, tmp_path):
    each = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    whole, _ = run(stages, each)
    model = keras.saving.load_model(tmp_path / f"{epoch}.keras")
    history = fit_stages(model, *arrays(), stages, seed=7, initial_epoch=epoch, verbose=0)
    assert history.epoch == list(range(epoch, 6))
    np.testing.assert_array_equal(kernel(model), whole)


def test_initial_epoch_has_the_rates_of_the_stages():
    """In a model that was not saved: the last rate that a stage has set."""
    record = Record()
    run(STAGES, record, initial_epoch=3)
    assert record.rates == [0.1, 0.1, 0.1]


def test_rate_that_a_callback_lowered_comes_back(tmp_path):
    def callbacks():
        reduce = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9)
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup")), reduce

    whole, _ = run(STAGES, callbacks()[1])
    with pytest.raises(KeyboardInterrupt):
        run(STAGES, StopAt(3, 0), *callbacks())
    resumed, _ = run(STAGES, *callbacks())
    np.testing.assert_allclose(resumed, whole, rtol=1e-6)


def test_interrupted_after_the_last_epoch(tmp_path):
    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    whole = uninterrupted(STAGES, averaged)
    with pytest.raises(KeyboardInterrupt):
        run(STAGES, backup(), StopAt(5), optimizer=averaged)
    resumed, history = run(STAGES, backup(), optimizer=averaged, random=99)
    assert history.epoch == []
    np.testing.assert_array_equal(resumed, whole)


def test_resumed_model_is_left_without_an_initial_epoch(tmp_path):
    """Keras keeps it, and the next `fit` would start there."""

    def backup():
        return keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))

    with pytest.raises(KeyboardInterrupt):
        run(STAGES, backup(), StopAt(3, 0))
    model = linear_model()
    fit_stages(model, *arrays(), STAGES, callbacks=[backup()], verbose=0)
    assert model.fit(*arrays(), epochs=2, verbose=0).epoch == [0, 1]


def test_schedule_cannot_be_resumed_in_data_of_unknown_length():
    class Endless(Batches):
        num_batches = None

        def __getitem__(self, index):
            return super().__getitem__(index % (40 // self.batch))

    stages = [BatchStage(4, 2, DECAY, steps_per_epoch=10), BatchStage(20, 2, DECAY)]
    with pytest.raises(ValueError, match="Give the stages `steps_per_epoch`"):
        run(stages, data=Endless, initial_epoch=3)
    known = [BatchStage(4, 2, DECAY, steps_per_epoch=10)]
    _, history = run(known, data=Endless, initial_epoch=1)
    assert history.epoch == [1]
