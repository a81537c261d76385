"""Keras's names that are not public do what `_private_api` says of layers and models.

The oldest Keras runs these tests too. A name that goes without an error would change results.
"""

import keras
import numpy as np

from keras_bigbatch import _private_api
from tests.private_api.fits import X, fitted, model_of
from tests.problems import compiles

BACKEND = keras.backend.backend()


def test_layers_inside_a_layer_that_is_no_model_are_seen():
    inner = keras.layers.Dense(2)
    outer = keras.layers.TimeDistributed(inner)
    model = keras.Sequential([keras.Input((3, 2)), outer])
    assert inner not in model.layers
    found = _private_api.flatten_layers(model)
    assert found[0] is model
    assert found.index(outer) < found.index(inner)


def test_layers_that_are_called_for_their_shape_are_told_from_others():
    class Told(keras.layers.Layer):
        def call(self, inputs):
            told.append(_private_api.only_shapes_are_wanted())
            return inputs * 2

    told, layer = [], Told()
    layer(keras.Input((2,)))
    assert told
    assert all(told)
    told.clear()
    layer(X)
    assert told == [False]


def test_a_clone_is_not_compiled_while_the_original_passes_for_uncompiled():
    def unregistered(y, predicted):
        return keras.ops.mean(keras.ops.square(y - predicted), axis=-1)

    model = model_of()
    model.compile("sgd", unregistered)
    with _private_api.uncompiled([model]):
        assert not keras.models.clone_model(model).compiled
    assert model.compiled


def test_batch_norm_takes_the_moments_of_a_batch_in_training_only(monkeypatch):
    norm = keras.layers.BatchNormalization(axis=1)
    norm.build((8, 2))
    moments, calls = getattr(norm, _private_api.BATCH_MOMENTS), []

    def seen(inputs, mask):
        calls.append((inputs.shape, mask))
        return moments(inputs, mask)

    monkeypatch.setitem(vars(norm), _private_api.BATCH_MOMENTS, seen)
    norm(X, training=False)
    assert not calls
    norm(X, training=True)
    assert calls == [(X.shape, None)]


@compiles
def test_a_step_is_compiled_anew():
    """Without it the rate of the first schedule, 0, would stay in the step that was compiled."""
    schedule = keras.optimizers.schedules.ExponentialDecay
    model = fitted(model_of(keras.optimizers.SGD(schedule(0.0, 1, 1.0)), jit_compile=True))
    start = model.get_weights()
    model.optimizer.learning_rate = schedule(0.1, 1, 1.0)
    _private_api.forget_training_step(model)
    assert np.abs(fitted(model).get_weights()[0] - start[0]).max() > 1e-3


def test_functions_are_compiled_anew():
    """Without it `predict` would go on with the layer's old code."""
    model = fitted(model_of())
    before = model.predict(X, verbose=0)
    model.layers[0].activation = keras.ops.zeros_like
    _private_api.forget_functions(model)
    assert (model.predict(X, verbose=0) == 0).all()
    assert not (before == 0).all()


def test_a_shared_layer_is_at_each_of_its_places():
    shared = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((2,)), keras.Sequential([shared]), shared])
    assert _private_api.places(model).count(shared) == 2
    assert _private_api.flatten_layers(model).count(shared) == 1


def test_layers_come_in_the_order_of_their_making():
    first, second, third = (keras.layers.Dense(2) for _ in range(3))
    inner = keras.Sequential([keras.Input((2,)), first, second])
    model = keras.Sequential([keras.Input((2,)), inner, third])
    found = [part for part in _private_api.flatten_layers(model) if isinstance(part, type(first))]
    assert found == [first, second, third]


def test_a_path_is_what_it_was_set_to():
    variable = keras.Variable(1.0)
    _private_api.set_path(variable, "mine/kernel")
    assert variable.path == "mine/kernel"
