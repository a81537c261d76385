"""A stage ends when the measured noise scale passes a multiple of its batch."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from keras_bigbatch.training import (
    BatchStage,
    NoiseLimit,
    _stage_noise,
    fit_stages,
    increase_on_noise,
)
from reproduction.remedies import following
from tests.training.stages import (
    SAMPLES,
    Record,
    arrays,
    kernel,
    linear_model,
    numpy_sgd,
)

QUIET = {"verbose": 0, "shuffle": False}
MANY, FEW, UNKNOWN = 1e9, 0.0, math.nan


@pytest.fixture
def scripted(monkeypatch):
    """Stands in for the measurements: a value each, or the value and its interval's lower end."""

    def script(*found):
        left = [each if isinstance(each, tuple) else (each, 0.0) for each in found]

        def next_one(*_):
            value, low = left.pop(0)
            return value, (low, math.inf)

        monkeypatch.setattr(_stage_noise, "two_batch_estimates", lambda *_: np.zeros((2, 2)))
        monkeypatch.setattr(_stage_noise, "ratio_and_interval", next_one)
        return left

    return script


class Rates(keras.callbacks.Callback):
    """Those of `following`: the page's callback."""

    def __init__(self, rate, largest):
        super().__init__()
        self.rate, self.largest, self.batches = rate, largest, []

    def on_epoch_begin(self, epoch, logs=None):
        batch = self.params["batch_size"]
        self.batches.append(batch)
        share = following.share(epoch, self.params["epochs"])
        rate = self.rate * math.sqrt(batch / self.largest) * share
        self.model.optimizer.learning_rate = rate


# Sizes of 4, 8, 16, 32 and 40; measured after epochs 2, 4 and 6, and not at the end.
@pytest.mark.parametrize(
    ("found", "updates"),
    [
        ([MANY, MANY, MANY], [10, 10, 5, 5, 3, 3, 2, 2]),
        # Sizes that are not reached are left out.
        ([FEW, FEW, FEW], [10] * 8),
        ([FEW, MANY, FEW], [10, 10, 10, 10, 5, 5, 5, 5]),
        # It must be above the batch, not at it: 4, then 8.
        ([4.0, 4.1, 8.0], [10, 10, 10, 10, 5, 5, 5, 5]),
        ([4.1, 8.1, 16.1], [10, 10, 5, 5, 3, 3, 2, 2]),
        # Unknown: the interval's lower end; that of weights that have diverged is unknown too.
        ([(UNKNOWN, 4.1), (UNKNOWN, 8.0), (UNKNOWN, UNKNOWN)], [10, 10, 5, 5, 5, 5, 5, 5]),
    ],
)
def test_batch_grows_where_the_noise_scale_is_above_it(scripted, found, updates):
    stages = increase_on_noise(4, 40, epochs=8, every=2)
    left, record = scripted(*found), Record()
    history = fit_stages(linear_model(), *arrays(), stages, callbacks=[record], **QUIET)
    assert left == []
    assert record.updates == record.steps == updates
    assert record.calls == ["begin", *range(8), "end"]
    assert history.epoch == list(range(8))
    assert [math.ceil(SAMPLES / batch) for batch in history.history["batch_size"]] == updates
    compared = [each[1] if isinstance(each, tuple) else each for each in found]
    expected = np.repeat([UNKNOWN, *compared], [1, 2, 2, 3])
    np.testing.assert_array_equal(history.history["noise_scale"], expected)


def test_no_measurement_at_the_largest_batch(scripted):
    left = scripted(MANY, MANY)
    stages = increase_on_noise(10, 40, epochs=9, every=1)
    history = fit_stages(linear_model(), *arrays(), stages, **QUIET)
    assert left == []
    assert history.history["batch_size"] == [10, 20, *[40] * 7]


def test_weights_and_rates_are_those_of_the_stages(scripted):
    """Against NumPy in float64."""
    scripted(MANY, FEW, MANY)
    stages = increase_on_noise(4, 40, 7, factor=5, every=2, learning_rate=0.02)
    model, record = linear_model(), Record()
    fit_stages(model, *arrays(), stages, callbacks=[record], **QUIET)
    rates = [0.02 * (batch / 4) ** 0.5 for batch in (4, 20, 40)]
    made = [BatchStage(*each) for each in zip((4, 20, 40), (2, 4, 1), rates, strict=True)]
    np.testing.assert_allclose(record.rates, np.repeat(rates, [2, 4, 1]), atol=1e-6)
    np.testing.assert_allclose(kernel(model), numpy_sgd(made, 0.02), rtol=2e-5)


@pytest.mark.parametrize("accumulation", [None, 3])
@pytest.mark.parametrize(("found", "ends"), [(0.1, 1), (-0.1, 3)])
def test_multiple_is_of_an_updates_samples(scripted, accumulation, found, ends):
    steps = accumulation or 1
    scripted(*[0.25 * 4 * steps + found] * 2)
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=accumulation)
    limit = NoiseLimit(4, 8, multiple=0.25, every=1)
    stages = [BatchStage(4, 3, noise_limit=limit), BatchStage(20, 1)]
    history = fit_stages(linear_model(optimizer), *arrays(), stages, **QUIET)
    assert history.history["batch_size"] == [4] * ends + [20] * (4 - ends)


def test_epochs_that_are_left_go_to_the_stage_after(scripted):
    """`every` is counted from the stage's beginning; what comes after keeps its planned end."""
    left, record = scripted(FEW, MANY, MANY), Record()
    limit = NoiseLimit(4, 8, every=2)
    stages = [
        BatchStage(20, 1),
        BatchStage(4, 7, noise_limit=limit),
        BatchStage(8, 0, noise_limit=limit),
        BatchStage(40, 1),
    ]
    fit_stages(linear_model(), *arrays(), stages, callbacks=[record], **QUIET)
    assert record.updates == [2, 10, 10, 10, 10, 5, 5, 1, 1]
    assert left == []


def test_plateau_may_leave_epochs_too():
    stages = [BatchStage(4, 5, patience=1, monitor="loss"), BatchStage(20, 0)]
    record = Record()
    same = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(loss=1))
    fit_stages(linear_model(), *arrays(), stages, callbacks=[same, record], **QUIET)
    assert record.updates == [10, 10, 2, 2, 2]


def test_last_stage_ends_the_training(scripted):
    scripted(MANY)
    stages = [BatchStage(4, 5, noise_limit=NoiseLimit(4, 8, every=2))]
    assert fit_stages(linear_model(), *arrays(), stages, **QUIET).epoch == [0, 1]


def test_early_stopping_wins_over_the_noise_scale(scripted):
    scripted(MANY)
    stopping = keras.callbacks.EarlyStopping("batch_size", patience=1, mode="max")
    stages = increase_on_noise(4, 8, epochs=5, every=2)
    model = linear_model()
    history = fit_stages(model, *arrays(), stages, callbacks=[stopping], **QUIET)
    assert history.epoch == [0, 1]
    assert model.stop_training


def test_same_training_as_was_measured_for_the_evidence(scripted, monkeypatch):
    """`reproduction/remedies/following.py`, from the same noise scales: batches, rates, weights."""
    found = [MANY, (UNKNOWN, 3.0), (UNKNOWN, 5.0), MANY]
    scripted(*found)
    callback, model = Rates(0.1, 40), linear_model()
    stages = increase_on_noise(4, 40, epochs=9, multiple=0.5, every=2)
    fit_stages(model, *arrays(), stages, callbacks=[callback], **QUIET)

    results = [each if isinstance(each, tuple) else (each, each) for each in found]
    measured = iter([SimpleNamespace(value=v, interval=(low, MANY)) for v, low in results])
    monkeypatch.setattr(following, "EVERY", 2)
    monkeypatch.setattr(following, "gradient_noise_scale", lambda *_, **__: next(measured))
    reference = linear_model()
    fit = reference.fit
    monkeypatch.setattr(reference, "fit", lambda *data, **more: fit(*data, shuffle=False, **more))
    data = SimpleNamespace(x_train=arrays()[0], y_train=arrays()[1])
    made = following.follow(reference, data, (4, 40), 0.1, 0.5, 9, [], 0)
    assert callback.batches == made == [4, 4, 8, 8, 8, 8, 16, 16, 32]
    np.testing.assert_allclose(kernel(model), kernel(reference), rtol=1e-6)
