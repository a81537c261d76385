"""The random potential: laws with known exponents, what is left out of them, and why."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_bigbatch.diagnostics import random_potential
from keras_bigbatch.diagnostics._random_potential import _binned
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


def synthetic(size_at, seed, draws=1000, mean_at=None):
    """Draws with a known deviation, as a `RandomPotential`."""
    rng = np.random.default_rng(seed)
    distance = rng.uniform(0, 10, draws)
    difference = size_at(distance) * rng.standard_normal(draws)
    if mean_at is not None:
        difference += mean_at(distance)
    return _binned(np.stack([distance, difference], 1), 10.0, 20, 1.0, 0.0)


# --- the fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 3.0])
def test_alpha_of_a_synthetic_structure_function(alpha, seed):
    found = synthetic(lambda z: 0.03 * z ** (alpha / 2), seed)
    assert found.alpha == pytest.approx(alpha, abs=0.2)
    assert found.spread_alpha == pytest.approx(alpha, abs=0.2)
    assert abs(found.alpha - alpha) < 4 * found.alpha_error < 0.4
    expected = 0.03 * found.distance ** (alpha / 2)
    np.testing.assert_allclose(found.deviation[2:], expected[2:], rtol=0.4)
    for bins in (8, 40):
        other = found.binned(bins)
        assert len(other.distance) == bins
        assert other.alpha == pytest.approx(alpha, abs=0.25)
        assert other.fit_range == found.fit_range == (1.0, 10.0)


def test_alpha_is_exact_without_noise():
    distance = np.linspace(0.05, 9.95, 100)
    for alpha in (1.0, 2.0, 4.0):
        draws = np.stack([distance, distance ** (alpha / 2)], 1)
        found = _binned(draws, 10.0, 100 // 2, 1.0, 0.0)
        assert found.alpha == pytest.approx(alpha, abs=0.01)
    assert _binned(np.stack([distance, distance], 1), 10.0, 20, 0.0, 0.0).alpha_error < 1e-6


def test_the_range_of_taylor_is_left_out():
    """Linear up to 2, rough beyond: only the fit beyond sees the potential."""
    found = synthetic(lambda z: np.where(z < 2, z, 2 * (z / 2) ** 0.25), 0, draws=4000)
    beyond, all_of_it = found.binned(20, fit_from=2.0), found.binned(20, fit_from=0.0)
    assert beyond.alpha == pytest.approx(0.5, abs=0.2)
    assert beyond.fit_range == (2.0, 10.0)
    assert all_of_it.alpha > 0.9
    np.testing.assert_array_equal(beyond.distance, all_of_it.distance)


def test_a_mean_rise_is_in_the_deviation_and_not_in_the_spread():
    found = synthetic(lambda z: 0.1 * z, 1, mean_at=lambda z: 0.1 * z**2)
    assert found.alpha > 3.2
    assert found.spread_alpha == pytest.approx(2.0, abs=0.3)
    mean = 0.1 * found.distance**2
    np.testing.assert_allclose(np.hypot(found.spread, mean), found.deviation, rtol=0.3)


# --- losses with a closed form -------------------------------------------------------------------


def linear_loss(size=40):
    """`loss = slope . w`, and the norm of the slope."""
    model = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", lambda y_true, y_pred: keras.ops.mean(y_pred, axis=-1))
    x = np.random.default_rng(0).normal(size=(8, size)).astype("float32")
    return model, x, np.zeros((8, 1), "float32"), np.linalg.norm(x.mean(0))


def test_a_linear_loss_has_alpha_two_everywhere():
    model, x, y, slope = linear_loss()
    found = random_potential(model, x, y, draws=600)
    assert found.first_order == pytest.approx(slope / np.sqrt(40), rel=1e-5)
    assert found.alpha == pytest.approx(2.0, abs=0.2)
    # Of v . slope for v uniform on the sphere; 30 draws a bin.
    np.testing.assert_allclose(found.deviation, found.first_order * found.distance, rtol=0.5)
    both = np.sqrt(np.mean((found.draws[:, 1] / found.draws[:, 0]) ** 2))
    assert both == pytest.approx(found.first_order, rel=0.1)


def test_a_bowl_has_alpha_four():
    """`loss = |w - w0|^2` there: each difference is the square of its distance."""
    size = 12
    model = keras.Sequential([keras.Input((size,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    x = np.sqrt(size) * np.eye(size, dtype="float32")
    y = x @ model.get_weights()[0]
    found = random_potential(model, x, y, draws=200, bins=10)
    np.testing.assert_allclose(found.draws[:, 1], found.draws[:, 0] ** 2, rtol=1e-3, atol=1e-6)
    assert 0 < found.draws[:, 0].min() < 0.2
    assert 9.8 < found.draws[:, 0].max() <= 10
    assert found.alpha == pytest.approx(4.0, abs=0.1)
    assert found.first_order < 1e-4


def test_a_network_near_its_weights_follows_its_gradient():
    model = dense()
    _, gradient = numpy_gradient(flat_weights(model))
    found = random_potential(model, X, Y, max_distance=0.02, draws=150, bins=4, batch_size=25)
    expected = np.linalg.norm(gradient) / np.sqrt(len(gradient))
    assert found.first_order == pytest.approx(expected, rel=1e-4)
    ratio = found.draws[:, 1] / found.draws[:, 0]
    assert np.sqrt(np.mean(ratio**2)) == pytest.approx(expected, rel=0.2)
    np.testing.assert_allclose(found.deviation, expected * found.distance, rtol=0.5)
    assert found.alpha == pytest.approx(2.0, abs=0.4)


# --- models, data and arguments ------------------------------------------------------------------

FEW = {"max_distance": 2.0, "draws": 12, "bins": 3, "fit_from": 0.0}


class Halves(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(20) if index == 0 else slice(20, None)
        return X[rows], Y[rows]


def test_model_stays_as_it_was():
    model = normalized()
    model.fit(X, Y, verbose=0)
    before = everything_of(model)
    random_potential(model, X, Y, mode="training", **FEW)
    assert everything_of(model) == before


def test_sample_weights_data_sets_and_seeds():
    model = dense()
    plain = random_potential(model, X, Y, **FEW)
    again = random_potential(model, X, Y, **FEW, batch_size=16)
    np.testing.assert_allclose(again.draws, plain.draws, rtol=1e-4, atol=1e-6)
    half = random_potential(model, X, Y, sample_weight=np.full(len(X), 0.5), **FEW)
    np.testing.assert_allclose(half.draws, plain.draws * [1, 0.5], rtol=1e-4, atol=1e-6)
    assert half.alpha == pytest.approx(plain.alpha, rel=1e-3)
    stream = random_potential(model, Halves(), **FEW)
    np.testing.assert_allclose(stream.draws, plain.draws, rtol=1e-4, atol=1e-6)
    assert random_potential(model, X, Y, seed=1, **FEW).alpha != plain.alpha
    x, y = two_headed_data()
    assert np.isfinite(random_potential(two_headed(), x, y, **FEW).alpha)


def test_progress_table_and_plot(capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    found = random_potential(dense(2), X, Y, **FEW)
    assert capsys.readouterr().out == ""
    random_potential(dense(2), X, Y, **FEW, verbose=1)
    assert "12/12" in capsys.readouterr().out
    lines = str(found).splitlines()
    assert len(lines) == 5
    assert float(lines[1].split()[1]) == pytest.approx(found.deviation[0], rel=1e-3)
    axes = dataclasses.replace(found, fit_range=(float(found.distance[1]), 2.0)).plot()
    points, line, _ = axes.lines
    np.testing.assert_allclose(points.get_xydata(), np.stack([found.distance, found.deviation], 1))
    (x0, y0), (x1, y1) = line.get_xydata()
    assert (x0, x1) == tuple(found.distance[1:])
    assert np.log(y1 / y0) / np.log(x1 / x0) == pytest.approx(found.alpha / 2)
    assert y0 * y1 == pytest.approx(found.deviation[1] * found.deviation[2])
    assert found.plot(axes) is axes
    plt.close(axes.figure)


def test_losses_that_are_not_finite_or_do_not_change():
    with pytest.raises(ValueError, match="not finite at a distance of 0"):
        random_potential(dense(), X * np.float32(np.nan), Y)
    with pytest.raises(ValueError, match=r"not finite at a distance of [1-9]"):
        random_potential(dense(), X, Y, max_distance=1e30)
    model = dense()
    model.compile("sgd", lambda y_true, y_pred: 0 * keras.ops.mean(y_pred, axis=-1))
    with pytest.raises(ValueError, match="must change with the weights"):
        random_potential(model, X, Y, **FEW)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_distance": 0}, "max_distance"),
        ({"draws": 0}, "draws"),
        ({"bins": 2}, "3 or more bins with 2 or more draws"),
        ({"bins": 2.5}, "bins"),
        ({"draws": 4}, "4 draws"),
        ({"fit_from": -1}, "fit_from"),
        ({"fit_from": 9.9}, "start the fit earlier"),
        ({"mode": "batch"}, "mode"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        random_potential(dense(), X, Y, **options)
