"""What GhostBatchNormalization says where ghost batches do nothing, or harm, and where not.

Tests that expect nothing just run: a warning would be an error.
"""

import keras
import numpy as np
import pytest

from keras_bigbatch import _parameters, _user_warnings
from keras_bigbatch._measuring.stateless_loss import stateless_loss
from keras_bigbatch.layers import GhostBatchNormalization
from keras_bigbatch.training import BatchStage, fit_stages
from tests.user_warnings import assert_said_once, recorded

ONE_GROUP = "`virtual_batch=16` is not smaller than the batch of 16"
CONSTANT = "With `virtual_batch=1`"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(_user_warnings, "_given", set())


def data(samples):
    x = np.random.default_rng(0).normal(size=(samples, 6)).astype("float32")
    return x, x[:, :1]


def model_of(virtual_batch=16, batch=None):
    dense = keras.layers.Dense
    norms = [GhostBatchNormalization(virtual_batch) for _ in range(2)]
    layers = [keras.Input((6,), batch_size=batch), dense(4), norms[0], dense(4), norms[1], dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


def test_a_batch_of_one_group_warns_once_at_the_line_that_trains():
    model = model_of(batch=16)  # TensorFlow's `fit` knows no other size
    with recorded() as said:
        model.fit(*data(16), batch_size=16, verbose=0)
    assert_said_once(said, ONE_GROUP, __file__)
    model.fit(*data(16), batch_size=16, verbose=0)


def test_a_layer_by_itself_warns_too():
    with recorded() as said:
        GhostBatchNormalization(16)(data(16)[0], training=True)
    assert_said_once(said, ONE_GROUP, __file__)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow copies code")
def test_a_traced_step_warns_where_it_is_called():
    import tensorflow as tf

    layer = GhostBatchNormalization(16)

    @tf.function
    def step(x):
        return layer(x, training=True)

    with recorded() as said:
        step(data(16)[0])
    assert_said_once(said, ONE_GROUP, __file__)


def test_a_short_last_batch_is_none():
    model_of().fit(*data(40), batch_size=32, verbose=0)
    layer = GhostBatchNormalization(16)
    for samples in (17, 16, 3):
        layer(data(samples)[0], training=True)


class Block(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(4)
        self.norm = GhostBatchNormalization(100)

    def call(self, inputs, training=None):
        return self.norm(self.dense(inputs), training=training)


def test_a_graph_of_layers_that_always_train():
    """Keras runs the block for its shape: with a batch of no size, or of 83 in older versions."""
    inputs = keras.Input((6,))
    block = Block()
    outputs = block(inputs, training=True)
    assert outputs.shape == (None, 4)
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile("sgd", "mse")
    model.fit(*data(250), batch_size=250, verbose=0)
    assert np.all(block.norm.get_weights()[2] != 0)  # the groups have been seen


def test_inference_and_frozen_layers_are_no_training():
    x, y = data(8)
    model = model_of()
    model.predict(x, verbose=0)
    model.evaluate(x, y, verbose=0)
    model(x)
    for layer in model.layers:
        layer.trainable = not isinstance(layer, GhostBatchNormalization)
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.fit(x, y, verbose=0)


def test_a_measurement_is_no_training():
    model = model_of()
    values = [v.value for v in _parameters.trainable_variables(model)]
    state = [v.value for v in _parameters.state_variables(model)]
    batch = (*map(keras.ops.convert_to_tensor, data(4)), None)
    stateless_loss(model, training=True)(values, state, batch)
    # Nor has it been looked at in place of the training.
    with recorded() as said:
        model(data(16)[0], training=True)
    assert_said_once(said, ONE_GROUP, __file__)


def test_stages_count_by_the_largest():
    x, y = data(32)
    fit_stages(model_of(), x, y, [BatchStage(16, 1), BatchStage(32, 1)], verbose=0)
    with recorded() as said:
        fit_stages(model_of(), x, y, [BatchStage(8, 1), BatchStage(16, 1)], verbose=0)
    assert_said_once(said, ONE_GROUP, __file__)


@pytest.mark.parametrize(("shape", "axis"), [((6,), -1), ((1, 6), -1), ((6, 1, 1), 1)])
def test_a_group_of_one_value_warns(shape, axis):
    layer = GhostBatchNormalization(1, axis)
    with recorded() as said:
        layer.build((None, *shape))
    assert_said_once(said, CONSTANT, __file__)
    # What it says is so.
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    y = keras.ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(y, 0.0, atol=1e-5)


def test_a_saved_model_does_not_warn_again(tmp_path):
    with recorded() as said:
        model = model_of(1)
    assert len(said) == 1
    model.save(tmp_path / "model.keras")
    keras.saving.load_model(tmp_path / "model.keras")
    keras.models.clone_model(model)


@pytest.mark.parametrize(
    ("virtual_batch", "shape"), [(1, (None, 2, 6)), (1, (None, None, 6)), (2, (None, 6))]
)
def test_positions_or_samples_are_enough(virtual_batch, shape):
    GhostBatchNormalization(virtual_batch).build(shape)


@pytest.mark.parametrize("name", ["virtual_batch_size", "ghost_batch_size"])
def test_names_of_elsewhere_lead_to_virtual_batch(name):
    with pytest.raises(ValueError, match=f"does not take `{name}`.*`virtual_batch`"):
        GhostBatchNormalization(**{name: 32})
