"""`BatchStage` and the papers' stages: what they are made of, and what they refuse."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_bigbatch.training import (
    BatchStage,
    NoiseLimit,
    increase_on_noise,
    increase_on_plateau,
    small_first_epoch,
    warm_start,
)


def test_warm_start():
    assert warm_start(256, 5000, 5, 95, 0.1, 0.2) == (
        BatchStage(256, 5, 0.1),
        BatchStage(5000, 95, 0.2),
    )
    assert [stage.learning_rate for stage in warm_start(256, 5000, 5, 95)] == [None, None]


def test_small_first_epoch_has_the_papers_defaults():
    assert small_first_epoch(20) == (BatchStage(512, 1, 0.005), BatchStage(8192, 19, 0.05))


def test_increase_on_plateau():
    stages = increase_on_plateau(128, 5000, epochs=200, patience=7)
    assert [stage.batch for stage in stages] == [128, 640, 3200, 5000]
    assert [stage.epochs for stage in stages] == [197, 1, 1, 1]
    assert [stage.patience for stage in stages] == [7, 7, 7, None]
    assert {stage.monitor for stage in stages} == {"val_loss"}
    assert [stage.batch for stage in increase_on_plateau(8, 64, 9, factor=2)] == [8, 16, 32, 64]
    # A factor that is not whole is rounded once, not at every step.
    sizes = [stage.batch for stage in increase_on_plateau(10, 40, 9, factor=1.5)]
    assert sizes == [10, 15, 22, 34, 40]


def test_increase_on_noise():
    stages = increase_on_noise(40, 1000, epochs=100, multiple=0.25, seed=3)
    assert [stage.batch for stage in stages] == [40, 80, 160, 320, 640, 1000]
    assert [stage.epochs for stage in stages] == [100, 0, 0, 0, 0, 0]
    limit = NoiseLimit(40, 1000, multiple=0.25, every=5, draws=4, seed=3)
    assert [stage.noise_limit for stage in stages] == [*[limit] * 5, None]
    assert {stage.learning_rate for stage in stages} == {None}
    # Large batches of the measurement are whole small ones.
    first = increase_on_noise(30, 1000, 100, factor=3, every=2, draws=7)[0]
    assert first.noise_limit == NoiseLimit(30, 1020, every=2, draws=7)


def test_rates_go_with_the_root_of_the_batch():
    rates = [stage.learning_rate for stage in increase_on_noise(8, 72, 9, 4, learning_rate=0.1)]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3])


def test_numpy_numbers_become_plain_ones():
    stage = BatchStage(np.int64(8), np.int32(2), np.float32(0.5))
    assert [type(value) for value in (stage.batch, stage.epochs, stage.learning_rate)] == [
        int,
        int,
        float,
    ]


def test_schedule_is_kept():
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    assert BatchStage(8, 2, schedule).learning_rate is schedule
    stage = dataclasses.replace(BatchStage(8, 2), learning_rate=schedule)
    assert stage.learning_rate is schedule


LIMIT = NoiseLimit(8, 16)
DECAY = keras.optimizers.schedules.CosineDecay(0.1, 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchStage(0, 1), "`batch` must be a positive integer"),
        (lambda: BatchStage(8.0, 1), "`batch` must be a positive integer"),
        (lambda: BatchStage(8, None), "`epochs` must be an integer of 0 or more"),
        (lambda: BatchStage(8, 1, -0.1), "`learning_rate` must be a positive, finite number"),
        (lambda: BatchStage(8, 1, "0.1"), "`learning_rate` must be a positive, finite number"),
        (lambda: BatchStage(8, 1, patience=0), "`patience` must be a positive integer"),
        (lambda: BatchStage(8, 1, monitor=None), "`monitor` must be the name"),
        (lambda: BatchStage(8, 1, steps_per_epoch=0), "`steps_per_epoch` must be a positive"),
        (lambda: BatchStage(8, 1, noise_limit=2.0), "`noise_limit` must be a `NoiseLimit`"),
        (lambda: BatchStage(8, 1, patience=1, noise_limit=LIMIT), "Pass one of them"),
        (lambda: NoiseLimit(8, 20), "multiple of `small_batch`, at least twice"),
        (lambda: NoiseLimit(8, 16, multiple=0), "`multiple` must be a positive, finite number"),
        (lambda: NoiseLimit(8, 16, every=0), "`every` must be a positive integer"),
        (lambda: NoiseLimit(8, 16, draws=1), "`draws` must be 2 or more"),
        (lambda: NoiseLimit(8, 16, seed=None), "`seed` must be an integer of 0 or more"),
        (lambda: increase_on_noise(64, 64, 9), "must grow"),
        (lambda: increase_on_noise(8, 64, 5), "`epochs` must be more than `every`"),
        (lambda: increase_on_noise(8, 64, 0), "`epochs` must be a positive integer"),
        (lambda: increase_on_noise(8, 64, 9, learning_rate=DECAY), "let a callback set"),
        (lambda: warm_start(64, 64, 1, 1), "must be larger than `small_batch`"),
        (lambda: small_first_epoch(1), "at least 2"),
        (lambda: small_first_epoch(2.5), "`epochs` must be a positive integer"),
        (lambda: increase_on_plateau(64, 64, 9), "must grow"),
        (lambda: increase_on_plateau(8, 64, 9, factor=1), "must grow"),
        (lambda: increase_on_plateau(2, 64, 9, factor=1.1), "too small"),
        (lambda: increase_on_plateau(8, 64, 2, factor=2), r"\[8, 16, 32, 64\]"),
    ],
)
def test_refuses_with_a_reason(make, message):
    with pytest.raises(ValueError, match=message):
        make()
