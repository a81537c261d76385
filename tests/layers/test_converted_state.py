"""What layers hold outside their variables comes along into a converted copy."""

import keras
import numpy as np
import pytest

from keras_bigbatch.layers import to_ghost, to_plain

L = keras.layers
BACKEND = keras.backend.backend()
X = (np.random.default_rng(0).normal(size=(16, 5)) * 7 + 100).astype("float32")
WORDS = np.array([["a"], ["b"], ["c"], ["a"]])
NUMBERS = np.array([[1], [2], [3], [1]])


def predicted(model, x):
    return np.asarray(model.predict(x, verbose=0))


def assert_carried(model, x):
    wanted = predicted(model, x)
    ghost = to_ghost(model, 2)
    np.testing.assert_array_equal(predicted(ghost, x), wanted)
    np.testing.assert_array_equal(predicted(to_plain(ghost), x), wanted)


def adapted(layer, data):
    layer.adapt(data)
    return layer


def normed(first, x, embed=False):
    """A model of the layer and a batch norm."""
    inputs = keras.Input(x.shape[1:], dtype=str(x.dtype) if x.dtype.kind != "U" else "string")
    hidden = first(inputs)
    if embed:
        hidden = L.Flatten()(L.Embedding(10, 3)(hidden))
    return keras.Model(inputs, L.BatchNormalization()(hidden))


@pytest.mark.parametrize("options", [{}, {"axis": None}, {"invert": True}])
def test_an_adapted_normalization(options):
    assert_carried(normed(adapted(L.Normalization(**options), X), X), X)


def test_a_normalization_whose_variables_were_set_later():
    """Keras uses what it computed when it was adapted, and so does the copy."""
    model = normed(adapted(L.Normalization(), X), X)
    for weight in model.layers[1].weights[:2]:
        weight.assign(weight + 3.0)
    assert_carried(model, X)


def test_a_discretization():
    pytest.importorskip("tensorflow")  # which older ones ask for
    layer = adapted(L.Discretization(num_bins=3), X)
    assert_carried(normed(layer, X, embed=True), X)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="texts are TensorFlow's")
@pytest.mark.parametrize("mode", ["int", "one_hot"])
def test_a_string_lookup(mode):
    layer = adapted(L.StringLookup(output_mode=mode), WORDS)
    assert_carried(normed(layer, WORDS, embed=mode == "int"), keras.ops.convert_to_tensor(WORDS))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="texts are TensorFlow's")
def test_what_keras_cannot_load_is_refused_by_the_layers_name():
    """Nor does such a model come back from a file."""
    layer = L.StringLookup(output_mode="tf_idf", pad_to_max_tokens=True, max_tokens=6, name="idf")
    model = normed(adapted(layer, WORDS), WORDS)
    with pytest.raises(ValueError, match=r"'idf' of class StringLookup .* `idf_weights` must be"):
        to_ghost(model, 2)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="texts are TensorFlow's")
def test_a_text_vectorization():
    layer = adapted(L.TextVectorization(output_sequence_length=1), WORDS[:, 0])
    x = keras.ops.convert_to_tensor(WORDS)
    assert_carried(normed(layer, WORDS, embed=True), x)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")  # JAX, of Keras's type
def test_an_integer_lookup():
    pytest.importorskip("tensorflow")  # by which Keras looks up on every backend
    layer = adapted(L.IntegerLookup(), NUMBERS)
    assert_carried(normed(layer, NUMBERS, embed=True), NUMBERS)


@keras.saving.register_keras_serializable("keras_bigbatch_converted")
class Table(L.Layer):
    """A table that somebody has set, a private one, and one that it saves by itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.scales = {"first": np.ones(5, "float32"), "power": 1}
        self._shift = np.zeros(5, "float32")
        self.saved = None

    def call(self, x):
        shift = self._shift if self.saved is None else self._shift + self.saved
        scale = self.scales["first"] ** self.scales["power"]
        return x * keras.ops.convert_to_tensor(scale) + keras.ops.convert_to_tensor(shift)

    def save_own_variables(self, store):
        store["saved"] = np.asarray(self.saved)

    def load_own_variables(self, store):
        self.saved = np.asarray(store["saved"])


def test_tables_of_a_custom_layer():
    model = normed(Table(), X)
    table = model.layers[1]
    table.scales = {"first": np.arange(5, dtype="float32"), "power": 2}
    table._shift = np.arange(5, dtype="float32")
    table.saved = np.full(5, 7.0, "float32")
    assert_carried(model, X)
    # And it is a copy.
    ghost = to_ghost(model, 2)
    table._shift += 1
    np.testing.assert_array_equal(ghost.layers[1]._shift, np.arange(5))


def test_seeds_come_along():
    """A copy drops the same units in its first step."""
    model = keras.Sequential(
        [keras.Input((5,)), L.Dense(64), L.BatchNormalization(), L.Dropout(0.5, seed=1)]
    )
    model(X, training=True)
    copy = to_plain(model)
    drawn = [keras.ops.convert_to_numpy(each(X, training=True)) for each in (model, copy)]
    np.testing.assert_array_equal(*drawn)


def test_a_lambda_says_what_is_wrong():
    model = keras.Sequential([keras.Input((5,)), L.Lambda(lambda x: x * 2.0, name="twice")])
    model.add(L.BatchNormalization())
    with pytest.raises(ValueError, match=r"The layer 'twice' is a `Lambda`.*`in_place=True`"):
        to_ghost(model, 2)
    wanted = predicted(model, X)
    np.testing.assert_array_equal(predicted(to_ghost(model, 2, in_place=True), X), wanted)


class Rounded(keras.Model):
    """Its config leaves out the type of its layers."""

    def __init__(self, dtype=None):
        super().__init__()
        self.norm = L.BatchNormalization(dtype=dtype)

    def call(self, x, training=None):
        return self.norm(x, training=training)

    def get_config(self):
        return {}


def test_another_precision_is_refused():
    model = Rounded("mixed_bfloat16")
    model(X)
    with pytest.raises(ValueError, match=r"as float32, not mixed_bfloat16\. .*`in_place=True`"):
        to_ghost(model, 2)
