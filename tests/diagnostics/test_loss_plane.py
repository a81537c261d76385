"""The loss on a plane through three sets of weights."""

import keras
import numpy as np
import pytest

from keras_bigbatch.diagnostics import LossPlane, linear_path, loss_plane
from tests.diagnostics.models import X, Y, dense, everything_of, normalized, numpy_gradient


def three_sets(model):
    """The weights before and after some epochs, and once more."""
    sets = [model.get_weights()]
    for _ in range(2):
        model.fit(X, Y, epochs=3, batch_size=10, verbose=0)
        sets.append(model.get_weights())
    return sets


def test_loss_is_that_of_numpy():
    model = dense()
    sets = three_sets(model)
    alphas, betas = [-0.5, 0.0, 1.0], [0.0, 0.4, 1.0, 1.3]
    plane = loss_plane(model, *sets, X, Y, alphas, betas, batch_size=16)
    a, b, c = (np.concatenate([w.ravel() for w in each]).astype("float64") for each in sets)
    expected = [
        [numpy_gradient(a + alpha * (b - a) + beta * (c - a))[0] for alpha in alphas]
        for beta in betas
    ]
    np.testing.assert_allclose(plane.loss, expected, rtol=2e-5)
    assert plane.alphas.tolist() == alphas
    assert plane.betas.tolist() == betas


@pytest.mark.parametrize("mode", ["inference", "estimated", "training"])
def test_edges_are_paths_and_the_model_stays(mode):
    model = normalized(keras.layers.BatchNormalization(momentum=0.8), dropout=0.0)
    a, b, c = three_sets(model)
    before = everything_of(model)
    options = {"mode": mode, "batch_size": 16}
    points = [0.0, 0.5, 1.0]
    plane = loss_plane(model, a, b, c, X, Y, points, points, **options)
    assert everything_of(model) == before
    toward_b = linear_path(model, a, b, X, Y, points, **options).loss
    toward_c = linear_path(model, a, c, X, Y, points, **options).loss
    from_b_to_c = linear_path(model, b, c, X, Y, points, **options).loss
    np.testing.assert_allclose(plane.loss[0], toward_b, rtol=1e-5)
    np.testing.assert_allclose(plane.loss[:, 0], toward_c, rtol=1e-5)
    np.testing.assert_allclose(np.diag(plane.loss[:, ::-1]), from_b_to_c, rtol=1e-5)


def test_far_beyond_the_weights_no_variance_is_negative():
    model = normalized(keras.layers.BatchNormalization(momentum=0.8))
    plane = loss_plane(model, *three_sets(model), X, Y, [-9, 9], [-9, 9])
    assert np.isfinite(plane.loss).all()


def test_plot_and_text():
    plt = pytest.importorskip("matplotlib.pyplot")
    grid = np.array([0.0, 1.0, 2.0])
    for loss in (np.arange(1.0, 10).reshape(3, 3), np.arange(-4.0, 5).reshape(3, 3)):
        plane = LossPlane(grid, grid, loss)
        axes = plane.plot()
        assert plane.plot(axes) is axes
        assert [text.get_text() for text in axes.texts if text.get_text() in "abc"][:3] == [*"abc"]
        plt.close(axes.figure)
    assert str(plane) == "9 points, loss -4 to 4, lowest at alpha 0, beta 0"
    nowhere = LossPlane(grid, grid, np.full((3, 3), np.nan))
    assert str(nowhere) == "9 points, loss NaN at all of them"
    plt.close(nowhere.plot().figure)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights_c": []}, "`weights_c` must be weights of this model"),
        ({"betas": [[0.0]]}, "`betas` must be a flat list"),
        ({"mode": "stored"}, "'inference', 'estimated', 'training'"),
    ],
)
def test_bad_arguments(change, says):
    model = dense()
    weights = dict.fromkeys(("weights_a", "weights_b", "weights_c"), model.get_weights())
    with pytest.raises(ValueError, match=says):
        loss_plane(model, x=X, y=Y, **{**weights, "alphas": [0.5], "betas": [0.5], **change})
