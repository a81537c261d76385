"""Variables that start at zero: what layer-wise optimizers do with them, and what they say.

Tests that expect nothing just run: a warning would be an error.
"""

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch.optimizers import CBLR, LARS, MCLR, LayerwiseOptimizer, PercentDelta
from tests.optimizers.steps import stepped, variables_of
from tests.user_warnings import assert_said_once, recorded

LEAP, STUCK = "1 / trust_coefficient = 1000 times", "It never moves a weight that is zero"


class Constant(LayerwiseOptimizer):
    """A rule for which zero is a number like any other."""

    def trust_ratio(self, weight, gradient, weight_decay):
        return 1.0


class Means(LayerwiseOptimizer):
    """Somebody's own rule."""

    def trust_ratio(self, weight, gradient, weight_decay):
        size, slope = (keras.ops.mean(keras.ops.abs(each)) for each in (weight, gradient))
        return size / slope


def model_of(**options):
    options = {"kernel_initializer": "zeros", "name": "head", **options}
    layers = [keras.layers.Dense(4, name="body"), keras.layers.BatchNormalization()]
    layers = [keras.Input((3,)), *layers, keras.layers.Dense(1, **options)]
    return keras.Sequential(layers, name="net")


def data():
    x = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
    return x, x[:, :1]


@pytest.mark.parametrize(
    ("cls", "message"),
    [(LARS, LEAP), (MCLR, LEAP), (PercentDelta, LEAP), (Means, LEAP), (CBLR, STUCK)],
)
def test_building_names_them_and_what_to_do(cls, message):
    with recorded() as said:
        cls().build(model_of().trainable_variables)
    path = "net/head/kernel"
    assert_said_once(said, f"{cls.__name__} on variables that start at zero: '{path}'. ", __file__)
    assert message in str(said[0].message)
    assert "exclude=('bias', 'gamma', 'beta', 'head/kernel')" in str(said[0].message)


@pytest.mark.parametrize("jit", [False, "auto"])
def test_fit_builds_and_says_it_once(jit):
    model = model_of()
    model.compile(LARS(0.01), "mse", jit_compile=jit)
    with recorded() as said:
        model.fit(*data(), epochs=2, verbose=0)
    assert_said_once(said, "LARS on variables that start at zero: 'net/head/kernel'. ", __file__)


def test_many_are_not_all_named():
    variables = variables_of({f"dense_{i}/kernel": np.zeros((2, 2), "float32") for i in range(7)})
    with recorded() as said:
        LARS().build(variables)
    assert_said_once(said, "'dense_3/kernel' and 3 more", __file__)
    assert "dense_4" not in str(said[0].message)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: LARS(exclude=("bias", "gamma", "beta", "head/kernel")),
        lambda: LARS(0.01, trust_coefficient=1.0, weight_decay=1e-4),  # no leap
        lambda: Constant(),
        lambda: keras.optimizers.SGD(),
    ],
)
def test_what_is_excluded_or_makes_no_leap_is_silent(optimizer):
    optimizer().build(model_of().trainable_variables)


@pytest.mark.parametrize("cls", [LARS, MCLR, PercentDelta, CBLR])
def test_usual_models_are_silent(cls):
    """Biases and betas start at zero."""
    model = model_of(kernel_initializer="glorot_uniform")
    cls().build(model.trainable_variables)


def test_loading_a_trained_model_is_silent(tmp_path):
    model = model_of()
    model.get_layer("head").kernel.assign(np.ones((4, 1)))
    model.compile(LARS(0.01), "mse")
    model.fit(*data(), verbose=0)
    model.save(tmp_path / "model.keras")
    # Keras makes the optimizer while the weights are still the initial ones.
    keras.saving.load_model(tmp_path / "model.keras").fit(*data(), verbose=0)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX traces with values")
def test_values_that_are_traced_cannot_be_read():
    import jax

    [variable] = variables_of({"a/kernel": np.zeros((2, 2), "float32")})
    seen = []

    def look(value):
        with keras.StatelessScope(state_mapping=[(variable, value)]):
            seen.append(_backend.active().optimizer.all_zero(variable))
        return value

    jax.jit(look)(variable.value)
    assert seen == [False]
    assert _backend.active().optimizer.all_zero(variable)


def test_the_first_step_is_as_long_as_the_warning_says():
    """By closed form: that of SGD at the rate, which elsewhere is multiplied by the coefficient."""
    weights = {"a/kernel": np.zeros((2, 2), "float32"), "b/kernel": np.ones((2, 2), "float32")}
    gradients = [{path: np.ones((2, 2), "float32") for path in weights}]
    with recorded() as said:
        after = stepped(LARS(0.3), weights, gradients)
    assert len(said) == 1
    np.testing.assert_allclose(after["a/kernel"], -0.3, rtol=1e-6)
    np.testing.assert_allclose(after["b/kernel"], 1 - 0.3 * 0.001, rtol=1e-6)
