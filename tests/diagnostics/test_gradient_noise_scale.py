"""The noise scale beside the gradients of all samples, its interval, and when it is unknown."""

import math

import keras
import numpy as np
import pytest

from keras_bigbatch._measuring.noise_scale import (
    two_batch_estimates,
)
from keras_bigbatch._measuring.sampled_batches import SampledBatches
from keras_bigbatch.diagnostics import NoiseScale, gradient_noise_scale
from tests.diagnostics.models import (
    X,
    Y,
    dense,
    everything_of,
    flat_weights,
    normalized,
    numpy_gradient,
    two_headed,
    two_headed_data,
)
from tests.diagnostics.test_noise_scale_estimator import Gradients

rng = np.random.default_rng(3)
TRUE = np.array([1, 2, -1, 0.5, 0])
INPUTS = rng.normal(size=(1000, 5)).astype("float32")
TARGETS = (INPUTS @ TRUE + rng.normal(size=1000)).astype("float32")[:, None]


def linear(share=0.5):
    """A linear model whose weights are a share of the true ones."""
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.set_weights([(share * TRUE)[:, None], np.zeros(1)])
    return model


def sample_gradients(share=0.5, sample_weight=1.0):
    error = sample_weight * (INPUTS @ (share * TRUE) - TARGETS[:, 0])
    ones = np.ones((len(INPUTS), 1))
    return 2 * error[:, None] * np.concatenate([INPUTS, ones], 1).astype(np.float64)


def trace_and_square(gradients):
    """Of the covariance and of the mean, by their definitions."""
    mean = gradients.mean(0)
    return ((gradients - mean) ** 2).sum(1).mean(), (mean**2).sum()


# --- the estimate ----------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_is_that_of_the_gradients_of_all_samples(weighted):
    sample_weight = np.linspace(0.5, 2, len(INPUTS)) if weighted else None
    trace, square = trace_and_square(
        sample_gradients(sample_weight=1.0 if sample_weight is None else sample_weight)
    )
    found = gradient_noise_scale(
        linear(), INPUTS, TARGETS, 64, 512, draws=100, sample_weight=sample_weight
    )
    assert found.trace == pytest.approx(trace, rel=0.05)
    assert found.gradient_norm_squared == pytest.approx(square, rel=0.05)
    assert found.value == pytest.approx(trace / square, rel=0.05)
    low, high = found.interval
    assert low < trace / square < high < 1.2 * low
    assert found.draws == 100


def test_is_that_of_a_network_in_numpy():
    """The same draws, with the gradient of each sample in float64."""
    model = dense()
    weights = flat_weights(model)
    single = [numpy_gradient(weights, x=X[i : i + 1], y=Y[i : i + 1])[1] for i in range(len(X))]
    draws, small, large = 30, 4, 20
    rows = np.random.default_rng(7).integers(len(X), size=(draws, large))
    batches = np.array(single)[rows]
    mean = batches.mean(1)
    of_small = batches.reshape(draws, large // small, small, -1).mean(2)
    norms = [(of_small**2).sum(-1).mean(1), (mean**2).sum(-1)]
    square = (large * norms[1] - small * norms[0]) / (large - small)
    trace = (norms[0] - norms[1]) / (1 / small - 1 / large)
    found = gradient_noise_scale(model, X, Y, small, large, draws=draws, seed=7)
    assert found.trace == pytest.approx(trace.mean(), rel=1e-4)
    assert found.gradient_norm_squared == pytest.approx(square.mean(), rel=1e-4)
    assert found.value == pytest.approx(trace.mean() / square.mean(), rel=1e-4)


def test_seed():
    results = [
        gradient_noise_scale(linear(), INPUTS, TARGETS, 8, 64, draws=5, seed=s) for s in (1, 1, 2)
    ]
    assert results[0] == results[1] != results[2]


# --- where it is unknown ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__")  # Keras's on torch, which pytest.warns lets through
def test_nan_with_a_warning_at_a_minimum():
    model = linear()
    solution = np.linalg.lstsq(np.c_[INPUTS, np.ones(len(INPUTS))], TARGETS, rcond=None)[0]
    model.set_weights([solution[:-1], solution[-1]])
    with pytest.warns(UserWarning, match=r"cannot be told from zero.*larger large_batch"):
        found = gradient_noise_scale(model, INPUTS, TARGETS, 8, 64, draws=10)
    assert math.isnan(found.value)
    low, high = found.interval
    assert low > 64
    assert high == math.inf
    assert found.trace > 0
    assert "unknown, at least" in str(found)


@pytest.mark.filterwarnings("ignore:__array__")
def test_nan_with_a_warning_where_the_weights_have_diverged():
    with pytest.warns(UserWarning, match="gradients are not finite"):
        found = gradient_noise_scale(linear(), INPUTS * np.float32(np.nan), TARGETS, 8, 64, draws=2)
    assert np.isnan([found.value, *found.interval]).all()


# --- data, modes, arguments ------------------------------------------------------------------


class Sequence(keras.utils.PyDataset):
    """`INPUTS` and `TARGETS` in batches of 30, which are no multiple of anything."""

    def __len__(self):
        return math.ceil(len(INPUTS) / 30)

    def __getitem__(self, index):
        rows = slice(30 * index, 30 * (index + 1))
        return INPUTS[rows], TARGETS[rows]


def test_data_sets_are_cut_anew_and_read_once():
    rows = sample_gradients()[:960].reshape(15, 8, 8, 6)
    expected = two_batch_estimates(Gradients(rows.mean(2).reshape(-1, 6), 8), 8).mean(0)
    found = gradient_noise_scale(linear(), Sequence(), small_batch=8, large_batch=64)
    assert found.draws == 15
    np.testing.assert_allclose([found.trace, found.gradient_norm_squared], expected, rtol=1e-4)
    few = gradient_noise_scale(linear(), Sequence(), small_batch=8, large_batch=64, draws=3)
    assert few.draws == 3


def test_tensorflow_data_and_data_loader_are_taken():
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(*map(torch.as_tensor, (INPUTS, TARGETS))), batch_size=30)
    data = tf.data.Dataset.from_tensor_slices((INPUTS, TARGETS)).batch(30)
    expected = gradient_noise_scale(linear(), Sequence(), small_batch=8, large_batch=64)
    for each in (loader, data):
        found = gradient_noise_scale(linear(), each, small_batch=8, large_batch=64)
        assert found.value == pytest.approx(expected.value, rel=1e-4)


def test_a_data_set_goes_on_and_begins_again():
    batches = SampledBatches(Sequence(), size=300, count=2)
    readings = [[x for _, (x, _, _) in batches] for _ in range(4)]
    # 1000 samples are three batches: the fourth begins again, and is the first one.
    found = [np.concatenate([np.asarray(x) for x in reading]) for reading in readings]
    np.testing.assert_array_equal(found[0], INPUTS[:600])
    np.testing.assert_array_equal(found[1], np.concatenate([INPUTS[600:900], INPUTS[:300]]))
    np.testing.assert_array_equal(found[2], INPUTS[300:900])
    np.testing.assert_array_equal(found[3], INPUTS[:600])
    # One reading begins once at most, so it may end early.
    batches = SampledBatches(Sequence(), size=300, count=5)
    assert [len(list(batches)) for _ in range(3)] == [3, 3, 3]


def test_several_inputs_and_outputs():
    x, y = two_headed_data()
    found = gradient_noise_scale(two_headed(), x, y, 4, 40, draws=10)
    assert found.trace > 0


def test_batch_norm_takes_the_statistics_of_its_mode():
    model = normalized(dropout=0.0)
    results = [
        gradient_noise_scale(model, X, Y, 8, 40, draws=5, mode=mode).trace
        for mode in ("inference", "training")
    ]
    assert results[0] != pytest.approx(results[1], rel=1e-2)


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_model_stays_as_it_was(mode):
    model = normalized()
    model.fit(X, Y, verbose=0)
    before = everything_of(model)
    gradient_noise_scale(model, X, Y, 4, 40, draws=20, mode=mode)
    assert everything_of(model) == before


def test_progress_and_text(capsys):
    found = gradient_noise_scale(linear(), INPUTS, TARGETS, 64, 512, draws=4, verbose=1)
    assert "32/32" in capsys.readouterr().out
    assert found == gradient_noise_scale(linear(), INPUTS, TARGETS, 64, 512, draws=4)
    assert capsys.readouterr().out == ""
    known = NoiseScale(12.0, 3.0, 0.25, (10.0, 15.0), 4)
    assert str(known) == (
        "noise scale 12 samples, 95 % interval 10 to 15\n"
        "trace 3, squared gradient norm 0.25 (4 draws)"
    )


@pytest.mark.parametrize(
    "found",
    [
        NoiseScale(1.2345e10, 1.2345e-10, 1.2345e-11, (1.2345e10, 1.2345e11), 100_000),
        NoiseScale(math.nan, -1.2345e-10, -1.2345e-11, (1.2345e10, math.inf), 100_000),
        NoiseScale(math.nan, math.nan, math.nan, (math.nan, math.nan), 2),
    ],
)
def test_text_is_of_80_columns(found):
    assert all(len(line) <= 80 for line in str(found).splitlines())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"small_batch": 0}, "`small_batch` must be a positive integer"),
        ({"large_batch": 2.5}, "`large_batch` must be a positive integer"),
        ({"small_batch": 6, "large_batch": 16}, "at least twice.*For example large_batch=12"),
        ({"small_batch": 8, "large_batch": 8}, "at least twice.*For example large_batch=16"),
        ({"draws": 1}, "`draws` must be 2 or more"),
        ({"draws": 0}, "`draws` must be a positive integer"),
        ({"mode": "test"}, "`mode` must be one of"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        gradient_noise_scale(linear(), INPUTS, TARGETS, **{"draws": 2, **options})


def test_data_set_of_less_than_two_large_batches():
    with pytest.raises(ValueError, match="fewer than 1200 samples"):
        gradient_noise_scale(linear(), Sequence(), small_batch=60, large_batch=600)
