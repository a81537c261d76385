"""What a plan hands to `fit`, and what it says of the data and callbacks beside it."""

import importlib.util
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch.schedules import LearningRateScaler, Regime
from tests.user_warnings import recorded

REGIME = Regime(128, 100, 50_000, {0: 0.1, 50: 0.01, 75: 0.001})
PLAN = REGIME.at(4096)
SHORT = REGIME.at(4096, stretch=1)
X = np.zeros((50_000, 1), "float32")
callbacks = keras.callbacks


class Batches(keras.utils.PyDataset):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return X[:1], X[:1]


class Stream(keras.utils.PyDataset):
    """A data set that says its length in Keras's newer way, None where it has no end."""

    def __init__(self, count):
        super().__init__()
        self.count = count

    @property
    def num_batches(self):
        return self.count


def data_sets(batches):
    """A data set of so many batches, of each kind that `fit` takes and that is installed."""
    yield Batches(batches)
    yield Stream(batches)
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        yield tf.data.Dataset.range(batches * 2).batch(2)
    if importlib.util.find_spec("torch"):
        import torch

        yield torch.utils.data.DataLoader(torch.arange(batches * 2), batch_size=2)


def test_the_dictionary():
    mine = [callbacks.CSVLogger("log.csv"), callbacks.TerminateOnNaN()]
    arguments = PLAN.fit_arguments(X, mine)
    check, *rest = arguments.pop("callbacks")
    assert arguments == {"epochs": PLAN.epochs, "batch_size": 4096}
    assert rest == mine
    assert type(check) is type(PLAN.callback())
    assert REGIME.at(4096, accumulation_steps=8).fit_arguments()["batch_size"] == 512
    assert len(PLAN.fit_arguments(X, callbacks=None)["callbacks"]) == 1  # as `fit` has it
    alone = PLAN.fit_arguments(callbacks=mine[0])["callbacks"]
    assert alone[1:] == mine[:1]


@pytest.mark.parametrize("x", [X[:45_000], {"a": X[:45_000], "b": X[:45_000]}, [X[:45_000]]])
def test_another_number_of_samples(x):
    with pytest.raises(ValueError, match=r"45000 samples for a plan .*=50000.*validation_split"):
        PLAN.fit_arguments(x)


def test_arrays_of_any_structure():
    for x in ({"a": X, "b": X}, [X, X], (X,), keras.ops.convert_to_tensor(X)):
        assert PLAN.fit_arguments(x)["batch_size"] == 4096


def test_data_sets_have_their_own_batch_size():
    for data in data_sets(13):
        assert "batch_size" not in PLAN.fit_arguments(data)
    for data in data_sets(14):
        message = r"of 14 for a plan of 13\. .* 4096 samples: .*, or `data\.batch\(4096\)`.*`x` out"
        with pytest.raises(ValueError, match=message):
            PLAN.fit_arguments(data)


def test_data_sets_without_a_length():
    for data in (Stream(None), (x for x in X)):
        assert set(PLAN.fit_arguments(data)) == {"epochs", "callbacks"}


def test_cures():
    for data in data_sets(12):
        cure = r"12 batches of 4096 and one of 848.*=True.*a `validation_split`, for the `examples`"
        with pytest.raises(ValueError, match=cure):
            PLAN.fit_arguments(data)
    for data in (Batches(50_000),):
        with pytest.raises(ValueError, match=r"not batched yet\? A batch has 4096 samples"):
            PLAN.fit_arguments(data)


@pytest.mark.parametrize("x", ["train", 50_000, np.float32(1), [[0.0], [1.0]], {"a": "train"}])
def test_what_is_no_data(x):
    message = r"`x` must be what `fit` trains on: arrays, or a data set.*Received: x=.*np\.asarray"
    with pytest.raises(ValueError, match=message):
        PLAN.fit_arguments(x)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (X, r"Received: ndarray of shape \(50000, 1\)\. The targets go to `fit` itself"),
        (PLAN, r"Keras callbacks\. Received: Plan\("),
        ([callbacks.CSVLogger], r"Create an instance: `CSVLogger\(\.\.\.\)`"),
    ],
)
def test_what_is_no_callback(callback, message):
    with pytest.raises(ValueError, match=message):
        PLAN.fit_arguments(X, callback)


def said(plan, callback):
    with recorded() as caught:
        plan.fit_arguments(callbacks=[callback])
    assert all(each.filename == __file__ for each in caught)
    return [str(each.message) for each in caught]


def test_patience_of_the_small_batch():
    assert SHORT.epochs_for(5) == 5
    (message,) = said(PLAN, callbacks.EarlyStopping(patience=5))
    # By hand: 391 updates an epoch at 128, 13 at 4096; 1955 updates are 150.4 epochs.
    assert "waits for 65 updates; at the batch of 128 it waited for 1955" in message
    assert "`patience=plan.epochs_for(5)` is 150." in message
    assert said(PLAN, callbacks.EarlyStopping(patience=PLAN.epochs_for(2))) == []
    assert said(SHORT, callbacks.EarlyStopping(patience=2)) == []
    assert len(said(SHORT, callbacks.EarlyStopping(patience=1))) == 1
    once = Regime(128, 1, 50_000, 0.1).at(128)
    assert said(once, callbacks.EarlyStopping(patience=1)) == []  # it cannot stop that


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (callbacks.ReduceLROnPlateau(), "ReduceLROnPlateau sets the learning rate, and so does"),
        (callbacks.LearningRateScheduler(lambda e: 0.1), "LearningRateScheduler sets the learning"),
        (
            callbacks.ModelCheckpoint("a.keras", save_freq=500),
            "counts batches: an epoch has 13 here and 391 at the batch of 128",
        ),
        (
            callbacks.BackupAndRestore("backup", save_freq=500),
            "so there are more updates than planned",
        ),
    ],
)
def test_callbacks_that_fight_the_plan(callback, message):
    (text,) = said(PLAN, callback)
    assert message in text


def test_callbacks_that_do_not():
    for callback in (callbacks.ModelCheckpoint("a.keras"), callbacks.CSVLogger("a.csv")):
        assert said(PLAN, callback) == []


def test_epochs_for():
    assert [PLAN.epochs_for(n) for n in (1, 5, 100)] == [30, 150, PLAN.epochs]
    assert REGIME.at(4096, stretch=4).epochs_for(5) == 20
    assert REGIME.at(4096, stretch=0.1).epochs_for(1) == 1  # never none
    # 16 micro-batches in an update, 98 of them in an epoch: 391 updates are 63.8 epochs.
    assert REGIME.at(8192, accumulation_steps=16).epochs_for(1) == 64
    with pytest.raises(ValueError, match=r"`epochs` must be a positive, finite number.*epochs=0"):
        PLAN.epochs_for(0)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 500),
    st.integers(1, 300),
    st.integers(500, 100_000),
    st.integers(1, 500),
    st.none() | st.floats(0.01, 64),
    st.sampled_from([1, 2, 8]),
    st.booleans(),
)
def test_all_the_epochs_are_the_plans(batch, epochs, examples, micro, stretch, k, drop):
    regime = Regime(batch, epochs, examples, 0.1, drop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a plan for a smaller batch
        plan = regime.at(micro * k, stretch=stretch, accumulation_steps=k)
    assert plan.epochs_for(epochs) == plan.epochs


def test_a_plan_in_the_place_of_a_number():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match=r"Pass `plan\.micro_batch` as the batch size"):
        model.fit(X[:8], X[:8], batch_size=PLAN, verbose=0)
    with pytest.raises(TypeError, match=r"`plan\.epochs` as the epochs"):
        model.fit(X[:8], X[:8], epochs=PLAN, verbose=0)
    for make in (keras.optimizers.SGD, lambda plan: LearningRateScaler(plan, 32, 64)):
        with pytest.raises(ValueError, match=r"plan\.learning_rate"):
            make(PLAN)
