"""The loss over a data set as a function of the weights."""

import keras
import numpy as np
import pytest

from tests import oracles
from tests.diagnostics.data_sets import WEIGHTS
from tests.diagnostics.models import (
    RNG,
    X,
    Y,
    dataset_loss,
    dense,
    flat_weights,
    normalized,
    numpy_gradient,
    numpy_hessian,
    subclassed,
    two_headed,
    two_headed_data,
)


def evaluated(model, *arguments, **options):
    return model.evaluate(*arguments, verbose=0, return_dict=True, **options)["loss"]


# --- what it computes ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 20])
def test_loss_and_derivatives_are_those_of_numpy(batch_size):
    model = dense()
    loss = dataset_loss(model, X, Y, sample_weight=WEIGHTS, batch_size=batch_size)
    start = flat_weights(model)
    np.testing.assert_array_equal(loss.weights, start.astype("float32"))
    at = start + RNG.normal(size=len(start)) * 0.1
    for weights in (None, at):
        point = start if weights is None else weights
        value, gradient = numpy_gradient(point, sample_weight=WEIGHTS)
        assert loss.loss(weights) == pytest.approx(value, rel=1e-5)
        found, slope = loss.gradient(weights)
        assert found == pytest.approx(value, rel=1e-5)
        np.testing.assert_allclose(slope, gradient, rtol=1e-4, atol=1e-6)
        hessian = numpy_hessian(lambda w: numpy_gradient(w, sample_weight=WEIGHTS)[1], point)
        vector = RNG.normal(size=len(point))
        product = loss.hessian_vector_product(vector, weights)
        np.testing.assert_allclose(product, hessian @ vector, rtol=1e-3, atol=1e-5)


def test_gradients_of_each_batch():
    model = dense()
    loss = dataset_loss(model, X, Y, batch_size=16)
    at = flat_weights(model) * 1.1
    found = list(loss.batch_gradients(at))
    assert [samples for samples, _, _ in found] == [16, 16, 16, 2]
    for (samples, value, gradient), start in zip(found, range(0, 50, 16), strict=True):
        rows = slice(start, start + samples)
        expected = numpy_gradient(at, x=X[rows], y=Y[rows])
        assert value == pytest.approx(expected[0], rel=1e-5)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [dense, normalized, subclassed])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_loss_is_that_of_evaluate(make, weights):
    model = make()
    loss = dataset_loss(model, X, Y, sample_weight=weights, batch_size=16).loss()
    expected = evaluated(model, X, Y, sample_weight=weights, batch_size=16)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_many_inputs_and_outputs():
    model = two_headed()  # never evaluated: its trackers are not made yet
    x, y = two_headed_data()
    for weights in (None, {"value": WEIGHTS, "kind": WEIGHTS[::-1].copy()}):
        loss = dataset_loss(model, x, y, sample_weight=weights, batch_size=25)
        value, gradient = loss.gradient()
        expected = evaluated(model, x, y, sample_weight=weights, batch_size=25)
        assert value == pytest.approx(expected, rel=1e-5)
        direction = gradient / np.linalg.norm(gradient)
        step = 1e-2
        ahead, behind = (loss.loss(loss.weights + sign * step * direction) for sign in (1, -1))
        assert (ahead - behind) / (2 * step) == pytest.approx(np.linalg.norm(gradient), rel=2e-3)
    model.fit(x, y, verbose=0)  # nothing of a compilation is left in it


def test_embeddings_and_attention_have_second_derivatives():
    layers = keras.layers
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5,), dtype="int32")
    hidden = layers.Embedding(7, 4)(inputs)
    hidden = layers.MultiHeadAttention(2, 3)(hidden, hidden)
    outputs = layers.Dense(3)(layers.GlobalAveragePooling1D()(hidden))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    x = RNG.integers(0, 7, size=(12, 5)).astype("int32")
    loss = dataset_loss(model, x, RNG.integers(0, 3, 12))
    vector = RNG.normal(size=loss.size).astype("float32")
    step = 1e-2
    ahead, behind = (loss.gradient(loss.weights + sign * step * vector)[1] for sign in (1, -1))
    expected = (ahead - behind) / (2 * step)
    product = loss.hessian_vector_product(vector)
    assert np.abs(product - expected).max() < 1e-2 * np.abs(expected).max()


def test_only_trainable_variables_count():
    model = dense()
    model.layers[0].trainable = False
    loss = dataset_loss(model, X, Y)
    assert loss.size == 12 * 2 + 2
    _, gradient = numpy_gradient(np.concatenate([v.numpy().ravel() for v in model.weights]))
    np.testing.assert_allclose(loss.gradient()[1], gradient[-26:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float64"])
def test_other_precisions(policy):
    if policy == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX has no float64 unless it is enabled at its start")
    expected = numpy_gradient(flat_weights(dense()))[1]
    keras.config.set_dtype_policy(policy)
    model = dense()
    for variable, value in zip(model.variables, dense_weights(), strict=True):
        variable.assign(value)
    loss = dataset_loss(model, X, Y)
    assert loss.weights.dtype == ("float64" if policy == "float64" else "float32")
    found = loss.gradient()[1]
    tolerance = 1e-5 if policy == "float64" else 0.05
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def dense_weights():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    values = dense().get_weights()
    keras.config.set_dtype_policy(policy)
    return values


# --- norm layers and random layers -----------------------------------------------------------


def numpy_ghost_loss(weights, model, size):
    """`normalized` without Dropout and activity regularizer, batch by batch, in float64."""
    shapes = [v.shape for v in model.trainable_variables]
    parts = np.split(weights, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    kernel, bias, gamma, beta, last, last_bias = (
        part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
    )
    total = 0.0
    for start in range(0, len(X), size):
        x, y = X[start : start + size], Y[start : start + size]
        hidden, _, _ = oracles.ghost_batch_norm(x @ kernel + bias, gamma, beta, 8, -1, 1e-3)
        error = np.tanh(hidden) @ last + last_bias - y
        total += len(x) * (error**2).mean()
    return total / len(X) + 0.01 * (kernel**2).sum()


def test_ghost_norm_in_training_mode():
    model = normalized(dropout=0.0)
    model.layers[2].activity_regularizer = None
    start = flat_weights(model) + RNG.normal(size=len(flat_weights(model))) * 0.1
    loss = dataset_loss(model, X, Y, batch_size=20, mode="training")
    assert loss.loss(start) == pytest.approx(numpy_ghost_loss(start, model, 20), rel=1e-5)
    vector = RNG.normal(size=len(start))
    step = 1e-4

    def along(at):  # the loss's derivative along the vector
        ahead, behind = (numpy_ghost_loss(at + s * step * vector, model, 20) for s in (1, -1))
        return (ahead - behind) / (2 * step)

    directions = np.eye(len(start)) * step
    expected = np.array([(along(start + d) - along(start - d)) / (2 * step) for d in directions])
    product = loss.hessian_vector_product(vector, start)
    np.testing.assert_allclose(product, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_modes_differ_only_where_layers_do():
    plain = dense()
    assert dataset_loss(plain, X, Y, mode="training").loss() == dataset_loss(plain, X, Y).loss()
    model = normalized(dropout=0.0)
    stored, batch = (dataset_loss(model, X, Y, mode=m).loss() for m in ("inference", "training"))
    assert abs(stored - batch) > 1e-3


def test_random_layers_draw_the_same_in_every_pass():
    model = normalized()
    loss = dataset_loss(model, X, Y, batch_size=16, mode="training")
    assert loss.loss() == loss.loss() != dataset_loss(model, X, Y, batch_size=16).loss()
    np.testing.assert_array_equal(loss.gradient()[1], loss.gradient()[1])


@pytest.mark.parametrize("seed", [None, 3])
def test_random_layers_draw_the_same_for_every_batch(seed):
    """Two batches of the same samples have the same gradient; another draw would show."""
    layers = [keras.layers.Input((6,)), keras.layers.Dropout(0.5, seed=seed)]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    y = np.ones((16, 1), "float32")
    loss = dataset_loss(model, np.concatenate([x, x]), y, batch_size=8, mode="training")
    (_, first, one), (_, second, other) = loss.batch_gradients()
    assert first == second
    np.testing.assert_array_equal(one, other)
    plain = dataset_loss(model, x, y[:8], batch_size=8)
    assert plain.loss() != first


def test_state_can_be_given():
    model = normalized(dropout=0.0)
    state = [v.numpy() for v in model.non_trainable_variables]
    loss = dataset_loss(model, X, Y)
    assert loss.loss(state=state) == loss.loss()
    moved = [value + np.asarray(1, value.dtype) for value in state]
    found = loss.loss(state=moved)
    for variable, value in zip(model.non_trainable_variables, moved, strict=True):
        variable.assign(value)
    assert found == pytest.approx(evaluated(model, X, Y, batch_size=len(X)), rel=1e-5)


def test_models_without_a_loss_or_weights_are_refused():
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="not compiled"):
        dataset_loss(plain, X, Y)
    unbuilt = keras.Sequential([keras.layers.Dense(2)])
    unbuilt.compile("sgd", "mse")
    with pytest.raises(ValueError, match="no trainable variables"):
        dataset_loss(unbuilt, X, Y)
    loss = dataset_loss(dense(), X, Y)
    with pytest.raises(ValueError, match=r"86 trainable values.*\(85,\)"):
        loss.loss(np.zeros(85))
