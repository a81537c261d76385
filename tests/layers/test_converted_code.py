"""Batch norms that a model's own code makes: subclasses, custom layers, models in place."""

import keras
import numpy as np
import pytest

from keras_bigbatch.layers import GhostBatchNormalization, ghost_summary, to_ghost, to_plain
from tests.user_warnings import assert_said_once, recorded

PLAIN = keras.layers.BatchNormalization
REGISTER = keras.saving.register_keras_serializable("keras_bigbatch_converted")
X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
Y = X[:, :1]


@REGISTER
class Block(keras.layers.Layer):
    """A custom layer that makes a batch norm in its own code."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.dense = keras.layers.Dense(width)
        self.norm = PLAIN(name="inside")

    def build(self, shape):
        self.dense.build(shape)
        self.norm.build((*shape[:-1], self.width))

    def call(self, x, training=None):
        return self.norm(self.dense(x), training=training)

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@REGISTER
class Subclassed(keras.Model):
    """A model of blocks, one of them twice, without a config of its own."""

    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.blocks = [Block(width), Block(width)]
        self.last = keras.layers.Dense(1)

    def call(self, x, training=None):
        for block in (*self.blocks, self.blocks[1]):
            x = block(x, training=training)
        return self.last(x)


class NoConfig(Subclassed):
    """What it takes does not go into a config."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function


def functional():
    """A custom layer beside a batch norm of the graph."""
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(1)(PLAIN(name="graph")(Block()(inputs))))


def subclassed():
    model = Subclassed(name="mine")
    model(X)
    return model


def wrapped():
    inputs = keras.Input((3,))
    return keras.Model(inputs, subclassed()(inputs))


def trained(model):
    """No weight, and no statistic, is what it was at the start."""
    rng = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(variable + rng.uniform(0.1, 0.3, variable.shape))
    return model


def ghosts(model):
    return [each for each in model._flatten_layers() if isinstance(each, GhostBatchNormalization)]


def predicted(model):
    return keras.ops.convert_to_numpy(model(X, training=False))


# Keras 3.10 says it of every model that it has loaded.
@pytest.mark.filterwarnings("ignore:.*structure of `inputs` doesn't match")
@pytest.mark.parametrize("make", [functional, subclassed, wrapped])
def test_there_and_back_and_in_files(make, tmp_path):
    model = trained(make())
    wanted = predicted(model)
    ghost = to_ghost(model, 2, momentum=0.5)
    assert isinstance(ghost, type(model))
    assert [(each.virtual_batch, each.momentum) for each in ghosts(ghost)] == [(2, 0.5)] * 2
    assert not ghosts(model)
    np.testing.assert_array_equal(predicted(ghost), wanted)
    assert [each.path for each in ghost.weights] == [each.path for each in model.weights]

    ghost.save(tmp_path / "ghost.keras")
    loaded = keras.models.load_model(tmp_path / "ghost.keras")
    assert [(each.virtual_batch, each.momentum) for each in ghosts(loaded)] == [(2, 0.5)] * 2
    np.testing.assert_array_equal(predicted(loaded), wanted)

    again = to_ghost(loaded, 4)
    assert [each.virtual_batch for each in ghosts(again)] == [4] * 2
    plain = to_plain(again)
    assert not ghosts(plain)
    assert type(plain) is type(model)
    np.testing.assert_array_equal(predicted(plain), wanted)
    plain.save(tmp_path / "plain.keras")
    np.testing.assert_array_equal(
        predicted(keras.models.load_model(tmp_path / "plain.keras")), wanted
    )


def test_it_trains_on_its_groups():
    """The first norm sees the same in both: its statistics are Algorithm 1's."""
    model = trained(subclassed())
    ghost = to_ghost(model, 4, momentum=0.5)
    first = ghost.blocks[0]
    hidden = keras.ops.convert_to_numpy(first.dense(X))
    before = keras.ops.convert_to_numpy(first.norm.moving_mean)
    ghost(X, training=True)
    expected = before
    for group in (hidden[:4], hidden[4:]):
        expected = 0.5 * expected + 0.5 * group.mean(0)
    found = keras.ops.convert_to_numpy(first.norm.moving_mean)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    plain = model(X, training=True)
    with recorded():  # that all of the batch is one group
        whole = to_ghost(model, 8)(X, training=True)
    np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (whole, plain)), rtol=1e-4)


def test_files_of_weights_go_both_ways(tmp_path):
    model, path = trained(subclassed()), tmp_path / "a.weights.h5"
    ghost = to_ghost(model, 2)
    model.save_weights(path)
    fresh = to_ghost(subclassed(), 2)
    fresh.load_weights(path)
    np.testing.assert_array_equal(predicted(fresh), predicted(model))
    ghost.save_weights(path)
    fresh = subclassed()
    fresh.load_weights(path)
    np.testing.assert_array_equal(predicted(fresh), predicted(model))


def test_a_file_of_plain_weights_says_the_way_round(tmp_path):
    plain = keras.Sequential([keras.Input((3,)), PLAIN(name="norm")])
    plain.save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match=r"plain batch norm\. Load it into that model, then"):
        to_ghost(plain, 2).load_weights(tmp_path / "a.weights.h5")


def test_in_place_a_training_goes_on():
    """With its optimizer: the next step is that of a converted copy with the same momenta."""
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0}
    model = trained(subclassed())
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=False)
    model.fit(X, Y, **fit)
    optimizer, weights, before = model.optimizer, model.trainable_variables, predicted(model)

    copy = to_ghost(model, 4)
    copy.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse", jit_compile=False)
    copy.optimizer.build(copy.trainable_variables)
    copy.optimizer.set_weights([keras.ops.convert_to_numpy(v) for v in optimizer.variables])
    copy.fit(X, Y, **fit)

    assert to_ghost(model, 4, in_place=True) is model
    np.testing.assert_array_equal(predicted(model), before)
    assert model.optimizer is optimizer
    assert all(a is b for a, b in zip(model.trainable_variables, weights, strict=True))
    model.fit(X, Y, **fit)
    assert int(optimizer.iterations + 0) == 2
    for found, expected in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_in_place_there_and_back():
    model = trained(functional())
    wanted = predicted(model)
    to_ghost(model, 2, in_place=True)
    assert len(ghosts(model)) == 2
    assert type(model.get_layer("graph")) is GhostBatchNormalization
    to_plain(model, in_place=True)
    assert not ghosts(model)
    assert not hasattr(model.get_layer("graph"), "virtual_batch")
    np.testing.assert_array_equal(predicted(model), wanted)
    assert type(model) is type(functional())


def test_what_cannot_be_copied_converts_in_place():
    model = NoConfig(np.tanh)
    model(X)
    with pytest.raises(ValueError, match=r"cannot copy .* of class NoConfig.*`in_place=True`"):
        to_ghost(model, 2)
    assert not ghosts(model)
    assert len(ghosts(to_ghost(model, 2, in_place=True))) == 2


def test_nothing_is_changed_where_one_is_refused():
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, PLAIN(name="second")(PLAIN(name="first", axis=1)(inputs)))
    model.get_layer("second").renorm = True
    before = [type(each) for each in model._flatten_layers()]
    if "renorm" in PLAIN().get_config():
        with pytest.raises(ValueError, match=r"'second' cannot be converted.*renorm"):
            to_ghost(model, 2, in_place=True)
    with pytest.raises(ValueError, match=r"cannot be converted.*momentum"):
        to_ghost(model, 2, momentum=-1.0, in_place=True)
    assert [type(each) for each in model._flatten_layers()] == before


def test_only_some():
    model = subclassed()
    first, second = (each.norm.path for each in model.blocks)
    assert first != second
    some = to_ghost(model, 2, only=[first])
    assert [each.path for each in ghosts(some)] == [first]
    assert [each.path for each in ghosts(to_ghost(model, 2, skip=[first]))] == [second]
    with recorded() as said:
        to_ghost(model, 2, skip=["inside"])
    assert_said_once(said, "No batch norm of 'mine' is left", __file__)
    with pytest.raises(ValueError, match="`only` must be a sequence"):
        to_ghost(model, 2, only="inside")


def test_it_shows_which_are_ghosts(capsys):
    ghost = to_ghost(subclassed(), 2, only=["inside"], statistics="mean")
    ghost.blocks[0].norm.trainable = False
    lines = []
    ghost_summary(ghost, lines.append)
    assert lines[0] == "2 of 2 batch norms have ghost batches."
    assert lines[1].endswith("4 channels, ghost batches of 2, statistics='mean', frozen")
    assert lines[1].startswith(ghost.blocks[0].norm.path)
    ghost.summary(line_length=80)
    assert lines[2] in capsys.readouterr().out


def test_a_converted_class_that_is_not_registered_is_found_by_custom_objects(tmp_path):
    class Local(Subclassed):
        pass

    model = Local()
    model(X)
    ghost = to_ghost(trained(model), 2)
    ghost.save(tmp_path / "a.keras")
    objects = {"Local": Local, "Block": Block}
    loaded = keras.models.load_model(tmp_path / "a.keras", custom_objects=objects)
    assert isinstance(loaded, Local)
    assert len(ghosts(loaded)) == 2
    np.testing.assert_array_equal(predicted(loaded), predicted(ghost))
