"""The loss along a line, and which statistics batch norm has on it."""

import keras
import numpy as np
import pytest

from keras_bigbatch.diagnostics import LinearPath, linear_path
from tests.diagnostics.models import X, Y, dense, everything_of, normalized, numpy_gradient


def two_sets(model):
    """The weights before and after a few epochs."""
    start = model.get_weights()
    model.fit(X, Y, epochs=5, batch_size=10, verbose=0)
    return start, model.get_weights()


def evaluated_at(model, weights):
    model.set_weights(weights)
    return model.evaluate(X, Y, batch_size=len(X), verbose=0, return_dict=True)["loss"]


def test_loss_is_that_of_numpy():
    model = dense()
    start, end = two_sets(model)
    alphas = [-0.5, 0.0, 0.3, 1.0, 1.7]
    path = linear_path(model, start, end, X, Y, alphas, batch_size=16)
    flat = [
        np.concatenate([w.ravel() for w in weights]).astype("float64") for weights in (start, end)
    ]
    expected = [numpy_gradient((1 - a) * flat[0] + a * flat[1])[0] for a in alphas]
    np.testing.assert_allclose(path.loss, expected, rtol=1e-5)
    assert path.alphas.tolist() == alphas


def test_default_points_are_the_papers():
    model = dense(2)
    path = linear_path(model, *two_sets(model), X, Y)
    np.testing.assert_allclose(path.alphas, np.linspace(-1, 2, 25))
    assert path.loss[np.searchsorted(path.alphas, 1)] < path.loss[np.searchsorted(path.alphas, 0)]


@pytest.mark.parametrize("kind", ["ghost", "plain"])
def test_ends_with_stored_statistics_are_those_of_evaluate(kind):
    layer = keras.layers.BatchNormalization(momentum=0.8) if kind == "plain" else None
    model = normalized(layer)
    start, end = two_sets(model)
    path = linear_path(model, start, end, X, Y, [0, 1])
    expected = [evaluated_at(model, weights) for weights in (start, end)]
    np.testing.assert_allclose(path.loss, expected, rtol=1e-5)


def test_statistics_between_are_mixed_and_beyond_are_no_negative_variances():
    model = normalized(keras.layers.BatchNormalization(momentum=0.8))
    start, end = two_sets(model)
    middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
    path = linear_path(model, start, end, X, Y, [-9, 0.5, 9])
    assert path.loss[1] == pytest.approx(evaluated_at(model, middle), rel=1e-5)
    assert np.isfinite(path.loss).all()


@pytest.mark.parametrize("momentum", [0.5, 0.99])
def test_estimated_statistics_are_those_that_training_settles_at(momentum):
    """With one batch of all data they are its moments, and the loss is that of the batch's."""
    model = normalized(keras.layers.BatchNormalization(momentum=momentum), dropout=0.0)
    start, end = two_sets(model)
    of_batch = linear_path(model, start, end, X, Y, [0, 0.4, 1], mode="training")
    found = linear_path(model, start, end, X, Y, [0, 0.4, 1], mode="estimated")
    np.testing.assert_allclose(found.loss, of_batch.loss, rtol=1e-4)
    stored = linear_path(model, start, end, X, Y, [0, 0.4, 1])
    assert np.abs(stored.loss - found.loss).max() > 1e-3
    # They do not depend on what is stored.
    for each in model.layers:
        if isinstance(each, keras.layers.BatchNormalization):
            each.moving_mean.assign(each.moving_mean + 3)
    again = linear_path(model, start, end, X, Y, [0, 0.4, 1], mode="estimated")
    np.testing.assert_allclose(again.loss, found.loss, rtol=1e-5)


def test_estimated_statistics_of_ghost_norm_beside_training():
    """Sixty steps at a rate of zero come to the same."""
    model = normalized(dropout=0.0)
    weights = two_sets(model)[1]
    found = linear_path(model, weights, weights, X, Y, [0.0], mode="estimated")
    optimizer = keras.optimizers.SGD(0.0)
    model.compile(optimizer, "mse")
    model.fit(X, Y, batch_size=50, epochs=60, shuffle=False, verbose=0)
    assert found.loss[0] == pytest.approx(evaluated_at(model, model.get_weights()), rel=1e-4)


def test_frozen_norm_layers_keep_their_statistics():
    model = normalized(dropout=0.0)
    start, end = two_sets(model)
    model.layers[1].trainable = False
    model.compile("sgd", "mse")
    stored, estimated = (
        linear_path(model, start, end, X, Y, [0, 0.5], mode=mode).loss
        for mode in ("inference", "estimated")
    )
    np.testing.assert_allclose(stored, estimated, rtol=1e-6)


@pytest.mark.parametrize("mode", ["inference", "estimated", "training"])
def test_model_stays_as_it_was(mode):
    model = normalized()
    start, end = two_sets(model)
    before = everything_of(model)
    linear_path(model, start, end, X, Y, [0.2, 0.7], mode=mode, batch_size=16)
    assert everything_of(model) == before


def test_plot_and_table():
    plt = pytest.importorskip("matplotlib.pyplot")
    path = LinearPath(np.array([0.0, 0.5, 1.0]), np.array([2.0, 3.0, 1.0]))
    axes = path.plot()
    np.testing.assert_array_equal(axes.lines[0].get_xydata()[:, 1], path.loss)
    assert path.plot(axes) is axes
    plt.close(axes.figure)
    assert str(path).splitlines()[2].split() == ["0.500", "3"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights_b": []}, "`weights_b` must be weights of this model"),
        ({"alphas": []}, "alphas"),
        ({"alphas": [np.nan]}, "alphas"),
        ({"mode": "stored"}, "'inference', 'estimated', 'training'"),
    ],
)
def test_bad_arguments(change, says):
    model = dense()
    weights = model.get_weights()
    arguments = {"weights_a": weights, "weights_b": weights, "alphas": [0.5], **change}
    with pytest.raises(ValueError, match=says):
        linear_path(model, x=X, y=Y, **arguments)
