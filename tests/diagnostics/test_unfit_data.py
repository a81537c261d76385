"""Data that do not fit the model: one sentence, before anything is measured or trained."""

import importlib.util

import keras
import numpy as np
import pytest

from keras_bigbatch import callbacks, diagnostics
from tests.diagnostics.data_sets import Sequence, dataset_of, loader_of
from tests.diagnostics.models import (
    X,
    Y,
    dataset_loss,
    dense,
    two_headed,
    two_headed_data,
)


def measurements():
    """Each diagnostic that takes data, by name, as a function of the model and of the data."""
    d = diagnostics

    def weights(model, sets):
        return [model.get_weights()] * sets

    return {
        "sharpness": d.sharpness,
        "hessian_eigenvalues": d.hessian_eigenvalues,
        "hessian_trace": d.hessian_trace,
        "gradient_noise_scale": d.gradient_noise_scale,
        "random_potential": d.random_potential,
        "linear_path": lambda model, *data: d.linear_path(model, *weights(model, 2), *data),
        "loss_plane": lambda model, *data: d.loss_plane(model, *weights(model, 3), *data),
        "GradientNoiseScale": lambda *data: fitted(callbacks.GradientNoiseScale, *data),
        "LayerStrides": lambda *data: fitted(callbacks.LayerStrides, *data),
    }


def fitted(callback, model, *data):
    """Trains with the callback; fails if anything is trained before the callback complains."""
    made = callback(*data)
    try:
        model.fit(X, Y, verbose=0, callbacks=[made])
    finally:
        assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("name", measurements())
def test_y_forgotten(name):
    with pytest.raises(ValueError, match=r"`y` is missing.*Received: y=None\. Pass the targets"):
        measurements()[name](dense(2), X)


@pytest.mark.parametrize("name", measurements())
def test_a_string_for_x(name):
    with pytest.raises(ValueError, match=r"`x` must be arrays, or a data set.*Received: x='train'"):
        measurements()[name](dense(2), "train")


@pytest.mark.parametrize("name", measurements())
def test_x_of_another_structure(name):
    with pytest.raises(
        ValueError, match=r"cannot take a batch of `x`.*x of shape \(None, 3\)\. Its input .*4\)"
    ):
        measurements()[name](dense(2), X[:, :3], Y)


def test_data_sets_without_targets():
    sets = [Sequence([(X,)]), Sequence([X]), Sequence([[X]]), Sequence([(X, None)])]
    if importlib.util.find_spec("tensorflow"):
        sets.append(dataset_of(X))
    if importlib.util.find_spec("torch"):
        sets.append(loader_of(X))
    for data in sets:
        with pytest.raises(ValueError, match=r"targets are missing.*x alone.*yield `\(x, y\)`"):
            dataset_loss(dense(2), data)
    # As many data sets are made: one dictionary for inputs and targets.
    with pytest.raises(ValueError, match=r"cannot take a batch of `x`.*'image': "):
        dataset_loss(dense(2), Sequence([{"image": X, "label": Y}]))


@pytest.mark.parametrize(
    ("batches", "says"),
    [
        ([(X, Y), (X,)], r"same structure.*batch 2"),
        ([(X, Y), (X, Y, np.ones(50))], r"same structure.*batch 2"),
        ([(X, Y, None, None)], "a tuple of 4 parts"),
        ([("a", "b")], "Received: x of str"),
        ([(3.0, 4.0)], "Received: x of float"),
        ([(None, Y)], "Received: x of None"),
    ],
)
def test_batches_that_are_none(batches, says):
    with pytest.raises(ValueError, match=says):
        dataset_loss(dense(2), Sequence(batches)).loss()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((X.tolist(), Y), "a list of float. Convert lists of numbers with `np.asarray`"),
        (({"x": X.tolist()}, Y), "a dict of float"),
        ((b"train",), "Received: x=b'train'"),
        ((None, Y), "x of type NoneType"),
        ((np.float32(3), Y), "one sample per row"),
        ((X, np.float32(3)), "one sample per row"),
        ((X, "labels"), r"must be arrays, as `x` is.*'str'"),
        ((dense, Y), "x of type function"),
    ],
)
def test_what_are_no_arrays(arguments, says):
    with pytest.raises(ValueError, match=says):
        dataset_loss(dense(2), *arguments)


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (Y[:, 0], r"y of shape \(None,\); the outputs of the model are of shape \(None, 2\)"),
        (Y[:, :1].repeat(3, axis=1), r"y of shape \(None, 3\); the outputs .* \(None, 2\)"),
        (np.array(["cat", "dog"] * 25), r"y of shape \(None,\) and of dtype <U3"),
        (np.array([None, 1] * 25), r"y of shape \(None,\) and of dtype object"),
    ],
)
def test_y_of_another_shape(y, says):
    with pytest.raises(ValueError, match=says):
        dataset_loss(dense(2), X, y)


def test_several_inputs_and_outputs():
    x, y = two_headed_data()
    with pytest.raises(ValueError, match=r"x of shape \{'left': .*Its inputs are \{'left': "):
        dataset_loss(two_headed(), {"left": x["left"]}, y)
    with pytest.raises(ValueError, match=r"y of shape \{'value'.*'kind': \(None, 3\)"):
        dataset_loss(two_headed(), x, {"value": y["value"]})
    with pytest.raises(ValueError, match="`y` is missing"):
        dataset_loss(two_headed(), x)
    with pytest.raises(ValueError, match="`y` is missing"):
        dataset_loss(two_headed(), x, {"value": None, "kind": None})


def test_sample_weight_of_another_shape():
    with pytest.raises(ValueError, match=r"and sample_weight of shape \(None, 7\)"):
        dataset_loss(dense(2), X, Y, sample_weight=np.ones((50, 7), "float32"))


@keras.saving.register_keras_serializable("keras_bigbatch_tests")
class Own(keras.Model):
    """A linear map whose loss is the mean square of the outputs, with or without `y`."""

    def __init__(self):
        super().__init__()
        self.last = keras.layers.Dense(1, use_bias=False)

    def call(self, inputs):
        return self.last(inputs)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.square(y_pred if y is None else y_pred - y))


class Added(keras.layers.Layer):
    def call(self, inputs):
        self.add_loss(keras.ops.mean(keras.ops.square(inputs)))
        return inputs


def without_targets(kind):
    if kind == "own":
        model = Own()
        model(X[:2])
    else:
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(1, use_bias=False), Added()]
        )
    model.compile(keras.optimizers.SGD(0.01))
    return model


@pytest.mark.parametrize("kind", ["own", "added"])
def test_losses_that_need_no_targets(kind):
    model = without_targets(kind)
    kernel = model.get_weights()[0][:, 0].astype("float64")
    expected = np.mean((X.astype("float64") @ kernel) ** 2)
    for data in ((X,), (Sequence([(X,)]),), (Sequence([X]),)):
        assert dataset_loss(model, *data).loss() == pytest.approx(expected, rel=1e-5)
    noise = callbacks.GradientNoiseScale(X, small_batch=4, large_batch=8, draws=4, verbose=0)
    model.fit(X, verbose=0, callbacks=[noise])
    assert np.isfinite(noise.history["trace"]).all()


def test_errors_of_the_model_are_named_and_kept():
    def loss(y, outputs):
        raise RuntimeError("Not on a Monday.")

    with pytest.raises(ValueError, match="Not on a Monday") as raised:
        dataset_loss(dense(2, loss), X, Y)
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_what_is_no_model():
    with pytest.raises(ValueError, match=r"`model` must be a compiled `keras.Model`.*ndarray"):
        diagnostics.sharpness(X, Y)


def test_models_in_the_place_of_weights():
    model, other = dense(2), dense(2)
    with pytest.raises(ValueError, match=r"`weights_a` must be weights.*get_weights\(\)"):
        diagnostics.linear_path(model, other, X, Y)
    with pytest.raises(ValueError, match=r"`weights_b` must be weights.*get_weights\(\)"):
        diagnostics.linear_path(model, model.get_weights(), other, X, Y)
    with pytest.raises(ValueError, match=r"`weights_a` must be weights.*get_weights\(\)"):
        diagnostics.loss_plane(model, model, other, model, X, Y)
    with pytest.raises(ValueError, match=r"`model` must be a compiled `keras.Model`.*list"):
        diagnostics.linear_path(model.get_weights(), other.get_weights(), X, Y)
    with pytest.raises(ValueError, match=r"`weights_a` must be.*Received: weights_a of type str"):
        diagnostics.linear_path(model, "a.weights.h5", "b.weights.h5", X, Y)


def test_models_that_the_first_batch_builds():
    """On TensorFlow such a model is tried when it is measured, on the others when `fit` begins."""

    def trained(*data):
        model = keras.Sequential([keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        sizes = {"small_batch": 4, "large_batch": 8, "draws": 2, "verbose": 0}
        noise = callbacks.GradientNoiseScale(*data, **sizes)
        model.fit(X, Y, verbose=0, callbacks=[noise])
        return noise

    assert np.isfinite(trained(X, Y).history["trace"]).all()
    with pytest.raises(ValueError, match="`y` is missing"):
        trained(X)
