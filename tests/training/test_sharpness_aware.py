"""The gradients of sharpness-aware training: closed forms, an oracle, and plain training."""

import keras
import numpy as np
import pytest

from keras_bigbatch.training import sharpness_aware
from keras_bigbatch.training._perturbation import Perturbation
from tests.problems import AUTO_JIT
from tests.training.sharpness import RATE, X, Y, assert_close, network, oracle, step, trainable

# Of eager steps: what is compiled has tests of its own.
EAGER = {"run_eagerly": True}
# Torch's compiler takes too long for a test.
OTHER_JIT = [] if keras.backend.backend() == "torch" else [not AUTO_JIT]


def one_weight(value, **options):
    """A model whose loss, for inputs of 1 and targets of 0, is the square of its weight."""
    keras.utils.set_random_seed(0)
    initializer = keras.initializers.Constant(value)
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer=initializer)
    return sharpness_aware(keras.Sequential([keras.Input((1,)), dense]), **options)


ONES, ZEROS = np.ones((4, 1), "float32"), np.zeros((4, 1), "float32")


@pytest.mark.parametrize("value", [0.5, -0.25])
@pytest.mark.parametrize("adaptive", [False, True])
def test_parabola(value, adaptive):
    model = one_weight(value, radius=0.25, adaptive=adaptive)
    (gradient,), history = step(model, ONES, ZEROS, compiled=EAGER)
    # The slope of w^2 at the point that lies uphill, at 0.25 or at a quarter of the weight.
    there = value * 1.25 if adaptive else value + 0.25 * np.sign(value)
    np.testing.assert_allclose(gradient, 2 * there, rtol=1e-5)
    assert history["loss"] == [value**2]


@pytest.mark.parametrize("adaptive", [False, True])
def test_without_a_slope_nothing_moves(adaptive):
    model = one_weight(0.0, radius=0.25, adaptive=adaptive)
    assert step(model, ONES, ZEROS, compiled=EAGER)[0] == [0.0]


def test_a_first_gradient_that_is_not_finite_is_not_hidden_by_a_second_that_is():
    ops = keras.ops

    def loss(_, y_pred):  # of an infinite slope at 0, and of none at what is no number
        return ops.where(y_pred > -1, y_pred * 1e38 * 1e38, ops.zeros_like(y_pred))

    model = one_weight(0.0, radius=0.25)
    assert not np.isfinite(step(model, ONES, ZEROS, loss=loss, compiled=EAGER)[0][0])


@pytest.mark.parametrize(
    ("kind", "slope", "scale", "wanted"),
    [
        ("float32", 3.0, 1.0, 0.5),
        ("float32", 1e-13, 2.0**15, 0.05),  # less than what is taken for a slope
        ("float16", 300.0, 1.0, 0.5),  # whose square is no number of half precision
    ],
)
def test_point_by_the_size_of_the_gradient(kind, slope, scale, wanted):
    tensor = keras.ops.convert_to_tensor
    weights, gradient = tensor(np.ones(1, kind)), tensor(np.array([slope * scale], kind))
    perturbation = Perturbation(0.5, adaptive=False, virtual_batch=None)
    (there,), finite = perturbation.of([weights], [gradient], tensor(np.float32(scale)))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(there), 1 + wanted, rtol=1e-3)
    assert bool(finite)


@pytest.mark.parametrize("virtual_batch", [None, 5])  # groups of 5 and 7
@pytest.mark.parametrize("adaptive", [False, True])
def test_step_of_a_network(adaptive, virtual_batch):
    weight = np.random.default_rng(1).uniform(0.2, 2, len(X)).astype("float32")
    options = {"radius": 0.3, "adaptive": adaptive, "virtual_batch": virtual_batch}
    model = network(**options)
    loss, wanted = oracle(trainable(model), sample_weight=weight, **options)
    gradient, history = step(model, sample_weight=weight)
    assert_close(gradient, wanted)
    np.testing.assert_allclose(history["loss"], [loss], rtol=1e-5)


@pytest.mark.parametrize("jit", OTHER_JIT)
def test_step_of_a_network_where_it_is_compiled_otherwise(jit):
    options = {"radius": 0.3, "adaptive": True, "virtual_batch": 3}
    model = network(**options)
    _, wanted = oracle(trainable(model), sample_weight=np.ones(len(X)), **options)
    assert_close(step(model, compiled={"jit_compile": jit})[0], wanted)


@pytest.mark.parametrize("virtual_batch", [4, 12, 100])
def test_group_sizes_that_divide_the_batch_or_are_larger(virtual_batch):
    options = {"radius": 0.3, "adaptive": False, "virtual_batch": virtual_batch}
    model = network(**options)
    _, wanted = oracle(trainable(model), sample_weight=np.ones(len(X)), **options)
    assert_close(step(model, compiled=EAGER)[0], wanted)


def test_accumulated_micro_batches_are_groups():
    model = network(radius=0.3)
    _, wanted = oracle(trainable(model), 0.3, False, 4, np.ones(len(X)))
    before = trainable(model)
    model.compile(keras.optimizers.SGD(RATE, gradient_accumulation_steps=3), "mse")
    model.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    assert_close([(a - b) / RATE for a, b in zip(before, trainable(model), strict=True)], wanted)


@pytest.mark.parametrize("virtual_batch", [None, 4])
def test_batch_norm_moves_in_the_first_pass_alone(virtual_batch):
    norm = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), norm])
    kernel, bias = (np.asarray(w, np.float64) for w in model.layers[0].get_weights())
    step(sharpness_aware(model, radius=10.0, virtual_batch=virtual_batch))
    hidden = X @ kernel + bias
    moving_mean, moving_variance = norm.get_weights()[2:]
    np.testing.assert_allclose(moving_mean, 0.5 * hidden.mean(0), rtol=1e-5, atol=1e-6)
    # Each group is a batch of its own, and moves the statistics by its share.
    groups = hidden.reshape(-1, virtual_batch or len(X), 2)
    wanted = 0.5 + 0.5 * groups.var(axis=1).mean(0)
    np.testing.assert_allclose(moving_variance, wanted, rtol=1e-5)


@pytest.mark.parametrize("seed", [None, 5])
def test_both_passes_drop_the_same(seed):
    dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([keras.Input((40,)), keras.layers.Dropout(0.5, seed=seed), dense])
    masks = []
    for _ in range(2):
        dense.set_weights([np.ones((40, 1), "float32")])
        # A linear loss: the gradient is the mask of the second pass, the value of the first.
        gradient, history = step(
            sharpness_aware(model, radius=0.5),
            np.ones((1, 40), "float32"),
            np.zeros((1, 1), "float32"),
            loss=lambda _, y_pred: y_pred,
            compiled=EAGER,
        )
        masks.append(gradient[0])
        np.testing.assert_allclose(history["loss"], gradient[0].sum(), rtol=1e-5)
    assert 0 < np.sum(np.abs(masks[0] - masks[1]) > 1) < 40  # the next step drops others


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="Keras refuses it on JAX")
def test_a_layer_that_draws_without_a_seed_draws_anew_each_step():
    class Noise(keras.layers.Layer):
        def call(self, x):
            return x * keras.random.uniform((1,))

    model = sharpness_aware(keras.Sequential([keras.Input((1,)), Noise(), keras.layers.Dense(1)]))
    keras.utils.set_random_seed(1)  # which takes the global generator away
    model.compile(keras.optimizers.SGD(0.0), lambda _, y_pred: y_pred)
    losses = model.fit(ONES, ZEROS, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert len(set(losses)) == 3


def test_groups_keep_the_masks_of_outputs():
    results = []
    for size in (None, 2):
        keras.utils.set_random_seed(2)
        layers = [keras.layers.Masking(), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3, 1)), *layers])
        model = sharpness_aware(model, radius=0.1, virtual_batch=size)
        masked = np.where(X > 0, X, 0.0)[..., None]
        _, history = step(model, masked, masked + 1, compiled={"weighted_metrics": ["mae"]})
        results.append(history["mae"])
    np.testing.assert_allclose(*results, rtol=1e-5)


def everything(seed=2):
    """Two outputs, batch norm, dropout, a penalty and a loss that a layer adds."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    inputs = layers.Input((3,))
    hidden = layers.Dense(6, kernel_regularizer=keras.regularizers.L2(0.1))(inputs)
    hidden = layers.BatchNormalization(momentum=0.5)(hidden)
    hidden = layers.ActivityRegularization(0.01)(layers.Dropout(0.3, seed=1)(hidden))
    outputs = {"a": layers.Dense(2, name="a")(hidden), "b": layers.Dense(1, name="b")(hidden)}
    return keras.Model(inputs, outputs)


def test_a_radius_of_almost_nothing_is_plain_training():
    results = []
    for model in (everything(), sharpness_aware(everything(), radius=1e-12)):
        optimizer = keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=1.0)
        model.compile(
            optimizer,
            {"a": "mse", "b": "mae"},
            loss_weights={"a": 1.0, "b": 0.5},
            weighted_metrics={"a": ["mae"], "b": ["mse"]},
        )
        weights = {"a": np.linspace(0.5, 2, 12), "b": np.linspace(1, 0, 12)}
        fit = {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
        targets = {"a": Y, "b": X[:, :1]}
        history = model.fit(X, targets, sample_weight=weights, **fit).history
        results.append((model.get_weights(), history))
    assert_close(results[1][0], results[0][0])
    assert list(results[1][1]) == list(results[0][1])
    assert_close(results[1][1].values(), results[0][1].values())


@pytest.mark.parametrize("eager", [False, True])
def test_groups_report_what_plain_training_reports(eager):
    if eager and keras.backend.backend() == "jax":
        pytest.skip("JAX compiles each of many operations, and builds metrics in the same way")
    results = []
    for options in ({}, {"radius": 1e-12, "virtual_batch": 2}):
        keras.utils.set_random_seed(2)
        inputs = keras.Input((3,))
        outputs = [keras.layers.Dense(2, name="a")(inputs), keras.layers.Dense(1, name="b")(inputs)]
        model = keras.Model(inputs, outputs)
        model = sharpness_aware(model, **options) if options else model
        model.compile(
            keras.optimizers.SGD(0.05),
            ["mse", "mae"],
            metrics=[["mae"], ["mse"]],
            run_eagerly=eager,
        )
        fit = {"batch_size": 5, "epochs": 2, "shuffle": False, "verbose": 0}
        history = model.fit(X, [Y, X[:, :1]], **fit).history
        results.append((model.get_weights(), history))
    assert_close(results[1][0], results[0][0])
    assert list(results[1][1]) == list(results[0][1])
    assert_close(results[1][1].values(), results[0][1].values())
