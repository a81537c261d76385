"""to_ghost and to_plain on real and awkward models."""

import math

import keras
import numpy as np
import pytest

from keras_bigbatch.layers import GhostBatchNormalization, to_ghost, to_plain

PLAIN = keras.layers.BatchNormalization


def norms(model, kind):
    return [part for part in model._flatten_layers() if type(part) is kind]


def disturbed(model, seed=0):
    """The model with weights as after training: no initial value is left."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        value = np.asarray(keras.ops.convert_to_numpy(variable.value))
        if "variance" in variable.path:
            variable.assign(rng.uniform(0.5, 2, value.shape))
        else:
            variable.assign(value + 0.05 * rng.normal(size=value.shape))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # as after loading its variables
    return model


def images(size, samples=2):
    return np.random.default_rng(0).uniform(size=(samples, size, size, 3)).astype("float32")


@pytest.mark.parametrize(
    ("name", "count"),
    [("ResNet50", 53), ("MobileNetV2", 52), ("DenseNet121", 121), ("EfficientNetB0", 49)],
)
def test_applications_there_and_back(monkeypatch, name, count, tmp_path):
    # A copy is made by the same Python code on every backend, and with the same layers and weights
    # it predicts the same. So all four are made where that is fastest, elsewhere one, and the one
    # that holds state beside its variables, where backends differ.
    if keras.backend.backend() != "torch" and name not in ("MobileNetV2", "EfficientNetB0"):
        pytest.skip("copied by the same code as on torch, and without state beside its variables")

    def draw(self, shape, dtype=None):
        """By NumPy: JAX would compile a program for each shape."""
        return 0.05 * np.random.default_rng(math.prod(shape)).normal(size=shape)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
    make = getattr(keras.applications, name)
    # Logits: probabilities would be 0 and 1 whatever the weights, as ResNet50's are.
    options = {"classes": 10, "classifier_activation": None}
    model = disturbed(make(weights=None, input_shape=(32, 32, 3), **options))
    wanted = predictions(model)

    ghost = to_ghost(model, 32)
    assert len(norms(ghost, GhostBatchNormalization)) == count
    assert not norms(ghost, PLAIN)
    assert len(norms(model, PLAIN)) == count
    assert_same_graph_and_weights(ghost, model)
    np.testing.assert_allclose(predictions(ghost), wanted, rtol=1e-5, atol=1e-5)
    path = tmp_path / "ghost.keras"
    ghost.save(path)
    ghost = keras.models.load_model(path)
    np.testing.assert_allclose(predictions(ghost), wanted, rtol=1e-5, atol=1e-5)
    plain = to_plain(ghost)
    assert len(norms(plain, PLAIN)) == count
    assert not norms(plain, GhostBatchNormalization)
    assert_same_graph_and_weights(plain, model)
    np.testing.assert_allclose(predictions(plain), wanted, rtol=1e-5, atol=1e-5)


def predictions(model):
    # JAX compiles a whole model faster than all of its operations; TensorFlow traces slowly.
    call = model.predict_on_batch if keras.backend.backend() == "jax" else model
    return keras.ops.convert_to_numpy(call(images(32)))


def assert_same_graph_and_weights(model, other):
    layers, others = (each.get_config()["layers"] for each in (model, other))
    for layer, same in zip(layers, others, strict=True):
        assert (layer["name"], layer["inbound_nodes"]) == (same["name"], same["inbound_nodes"])
    for weight, same in zip(model.weights, other.weights, strict=True):
        assert weight.path == same.path
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (weight, same)))


def small_model(**options):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.BatchNormalization(name="norm", **options),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.5, seed=1),
            layers.Dense(2, name="dense"),
        ],
        name="small",
    )


def test_every_argument_is_kept():
    options = {
        "momentum": 0.8,
        "epsilon": 1e-5,
        "center": False,
        "gamma_regularizer": keras.regularizers.L2(0.1),
        "gamma_constraint": keras.constraints.NonNeg(),
        "gamma_initializer": "random_normal",
        "dtype": "float32",
    }
    model = disturbed(small_model(**options))
    ghost = to_ghost(model, 16)
    norm = ghost.get_layer("norm")
    assert norm.virtual_batch == 16
    before, after = model.get_layer("norm").get_config(), norm.get_config()
    assert {k: after[k] for k in before if k in after} == {
        k: before[k] for k in before if k in after
    }
    plain = to_plain(ghost).get_layer("norm")
    assert plain.get_config() == before
    for variable, copy in zip(model.weights, ghost.weights, strict=True):
        assert (variable.path, variable.trainable) == (copy.path, copy.trainable)
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable.value), keras.ops.convert_to_numpy(copy.value)
        )


def test_idempotent_and_resized():
    model = disturbed(small_model())
    once = to_ghost(model, 16)
    twice = to_ghost(once, 16)
    assert [layer.get_config() for layer in once.layers] == [
        layer.get_config() for layer in twice.layers
    ]
    assert to_ghost(once, 8).get_layer("norm").virtual_batch == 8
    x = images(8)
    np.testing.assert_array_equal(twice.predict(x, verbose=0), model.predict(x, verbose=0))
    assert norms(to_plain(model), PLAIN)


@pytest.mark.filterwarnings("ignore:.*all of the batch is one group")
def test_the_original_is_left_alone():
    model = disturbed(small_model())
    model.compile("adam", loss=lambda y, p: keras.ops.mean((y - p) ** 2))  # not serializable
    model.fit(images(8), np.zeros((2, 2)), verbose=0)
    weights, optimizer = model.get_weights(), model.optimizer
    ghost = to_ghost(model, 16)
    assert (model.compiled, ghost.compiled) == (True, False)
    ghost.compile("sgd", "mse")
    ghost.fit(images(8), np.ones((2, 2)), verbose=0)
    assert model.optimizer is optimizer
    for a, b in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == 1


def test_trainable_flags_at_every_level():
    inner = small_model()
    inner.trainable = False
    inner.get_layer("norm").trainable = True  # thawed alone, inside a frozen model
    inputs = keras.Input((8, 8, 3))
    outer = keras.Model(inputs, keras.layers.Dense(2, trainable=False)(inner(inputs)))
    ghost = to_ghost(outer, 4)

    def flags(model):
        parts = [part for part in model._flatten_layers() if part.variables]
        return [(part.name, part.trainable) for part in parts]

    assert sorted(flags(ghost)) == sorted(flags(outer))
    assert [v.path for v in ghost.trainable_variables] == [
        v.path for v in outer.trainable_variables
    ]


def test_shared_layers_and_nested_models_stay_shared():
    norm, inner = PLAIN(name="shared"), small_model()
    a, b = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    merged = keras.layers.Concatenate()([inner(norm(a)), inner(norm(b))])
    model = disturbed(keras.Model([a, b], {"out": merged}))
    ghost = to_ghost(model, 4)
    assert len(ghost.weights) == len(model.weights)
    assert len(norms(ghost, GhostBatchNormalization)) == 2
    x = [images(8), images(8) * 2]
    np.testing.assert_array_equal(
        ghost.predict(x, verbose=0)["out"], model.predict(x, verbose=0)["out"]
    )


def test_operations_on_symbolic_tensors_are_copied():
    inputs = keras.Input((3,))
    hidden = keras.ops.relu(PLAIN()(inputs) * 2.0 + 1.0)
    model = disturbed(keras.Model(inputs, hidden))
    ghost = to_ghost(model, 4)
    x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    np.testing.assert_array_equal(ghost.predict(x, verbose=0), model.predict(x, verbose=0))
    keras.models.model_from_json(model.to_json())  # its graph is as it was


def test_norms_inside_wrappers():
    layers = keras.layers
    block = keras.Sequential([keras.Input((3,)), layers.Dense(4), PLAIN(trainable=False)])
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.TimeDistributed(PLAIN(name="each")),
            layers.TimeDistributed(block),
            layers.Bidirectional(layers.LSTM(2)),
        ]
    )
    ghost = to_ghost(disturbed(model), 4)
    found = norms(ghost, GhostBatchNormalization)
    assert [(n.virtual_batch, n.trainable) for n in found] == [(4, True), (4, False)]
    assert not norms(ghost, PLAIN)
    x = np.random.default_rng(0).normal(size=(6, 5, 3)).astype("float32")
    np.testing.assert_array_equal(ghost.predict(x, verbose=0), model.predict(x, verbose=0))
    assert len(norms(to_plain(ghost), PLAIN)) == 2


class Own(PLAIN):
    """Somebody's own batch norm."""


def test_what_cannot_be_converted_says_so():
    with pytest.raises(ValueError, match="no weights to carry over"):
        to_ghost(keras.Sequential([keras.layers.Dense(2), PLAIN()]), 4)
    with pytest.raises(ValueError, match="positive integer"):
        to_ghost(small_model(), 0)
    with pytest.raises(ValueError, match=r"`model` must be a `keras\.Model`"):
        to_ghost(PLAIN(), 4)
    with pytest.raises(ValueError, match="`in_place` must be True or False"):
        to_ghost(small_model(), 4, in_place=None)
    with pytest.raises(ValueError, match=r"'norm' cannot be converted.*momentum"):
        to_ghost(small_model(), 4, momentum=2.0)
    own = keras.Sequential([keras.Input((3,)), Own(), PLAIN()])
    with pytest.warns(UserWarning, match="class Own, a subclass"):
        converted = to_ghost(own, 4)
    assert [type(layer) for layer in converted.layers] == [Own, GhostBatchNormalization]


@pytest.mark.parametrize("other", [keras.layers.LayerNormalization, keras.layers.ReLU])
def test_a_model_without_a_batch_norm_warns(other):
    model = keras.Sequential([keras.Input((3,)), other()], name="no_norm")
    with pytest.warns(UserWarning, match="'no_norm' has no batch norm") as said:
        to_ghost(model, 4)
    assert [warning.filename for warning in said] == [__file__]
    to_plain(model)  # which says nothing: nothing was expected of it


@pytest.mark.skipif(
    "renorm" not in PLAIN().get_config(), reason="this Keras has no batch renormalization"
)
def test_renormalization_is_refused_by_the_layers_name():
    renorm = keras.Sequential([keras.Input((3,)), PLAIN(renorm=True, name="re")])
    with pytest.raises(ValueError, match=r"'re' cannot be converted.*renorm=True"):
        to_ghost(renorm, 4)
