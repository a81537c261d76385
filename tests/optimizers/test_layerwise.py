"""What all layer-wise optimizers share: which variables adapt, ratios, fast paths, arguments."""

import json

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch._backend.reference import optimizer as reference
from keras_bigbatch.optimizers import CBLR, LARS, MCLR, LayerwiseOptimizer, PercentDelta
from tests.optimizers.steps import assert_close, stepped, weights_and_gradients

pytestmark = pytest.mark.filterwarnings("ignore:.*without weight decay")
FAST = {"learning_rate": 0.05, "trust_coefficient": 0.2, "weight_decay": 1e-3}
everyone = pytest.mark.parametrize("cls", [LARS, MCLR, PercentDelta, CBLR])


# --- which variables adapt -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exclude", "adapting"),
    [
        (("bias", "gamma", "beta"), ["dense/kernel", "conv/kernel"]),
        ((), ["dense/kernel", "dense/bias", "conv/kernel"]),
        (("^dense/",), ["conv/kernel"]),
        ((r"(dense|conv)/kernel$",), ["dense/bias"]),
        (["kernel"], ["dense/bias"]),
    ],
)
def test_patterns_say_which_variables_adapt(exclude, adapting):
    weights, gradients = weights_and_gradients(1)
    optimizer = LARS(**FAST, exclude=exclude)
    assert optimizer.trust_ratios == {}
    stepped(optimizer, weights, gradients)
    assert list(optimizer.trust_ratios) == adapting
    again = LARS.from_config(json.loads(json.dumps(optimizer.get_config())))
    assert again.exclude == tuple(exclude)


def test_excluded_variables_neither_adapt_nor_decay():
    weights, gradients = weights_and_gradients(3)
    after = stepped(LARS(**FAST), weights, gradients)["dense/bias"]
    sgd = stepped(keras.optimizers.SGD(0.05, momentum=0.9), weights, gradients)["dense/bias"]
    np.testing.assert_allclose(after, sgd, rtol=1e-6, atol=1e-7)


def test_exclusion_from_decay_alone():
    weights, gradients = weights_and_gradients(3)
    optimizer = LARS(0.05, trust_coefficient=0.2, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["kernel"])
    expected = stepped(LARS(0.05, trust_coefficient=0.2), weights, gradients)
    assert_close(stepped(optimizer, weights, gradients), expected)


def test_decay_is_not_keras_own():
    """With a zero gradient and ratio 1 the coupled decay goes through the momentum, Keras's not."""
    weights, gradients = weights_and_gradients(2, shapes={"a/kernel": (3, 2)})
    zeros = [{"a/kernel": 0 * each["a/kernel"]} for each in gradients]
    after = stepped(LARS(0.1, weight_decay=0.5), weights, zeros)["a/kernel"]
    coupled = weights["a/kernel"] * (0.95 - 0.05 * 0.95 - 0.9 * 0.05)
    np.testing.assert_allclose(after, coupled, rtol=1e-5)


def test_no_decay_may_be_written_as_keras_does():
    assert LARS(weight_decay=None, name="a").get_config() == LARS(name="a").get_config()


# --- one method makes a rule -----------------------------------------------------------------


class Constant(LayerwiseOptimizer):
    """A rule whose ratio is whatever it is told."""

    def __init__(self, value, **kwargs):
        super().__init__(1.0, 0.0, 0.5, 0.0, **kwargs)
        self.value = value

    def trust_ratio(self, weight, gradient, weight_decay):
        return keras.ops.sum(weight) * 0 + self.value


@pytest.mark.parametrize(
    ("value", "factor"),
    [(3.0, 1.5), (0.0, 1.0), (-1.0, 1.0), (float("inf"), 1.0), (float("nan"), 1.0)],
)
def test_a_ratio_that_is_no_ratio_counts_as_one(value, factor):
    weights, gradients = weights_and_gradients(1, shapes={"a/kernel": (3, 2)})
    optimizer = Constant(value)
    after = stepped(optimizer, weights, gradients)["a/kernel"]
    expected = weights["a/kernel"] - factor * gradients[0]["a/kernel"]
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-6)
    assert optimizer.trust_ratios == {"a/kernel": factor}


def test_the_base_alone_has_no_rule():
    with pytest.raises(TypeError, match="trust_ratio"):
        LayerwiseOptimizer()


# --- the fast paths and the reference --------------------------------------------------------


@everyone
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rate_in_momentum", [True, False])
def test_fast_paths_agree_with_the_reference(
    cls, momentum, nesterov, rate_in_momentum, monkeypatch
):
    weights, gradients = weights_and_gradients(4)
    options = {**FAST, "weight_decay": 0.1, "momentum": momentum, "nesterov": nesterov}
    options["rate_in_momentum"] = rate_in_momentum
    fast = stepped(cls(**options), weights, gradients)
    monkeypatch.setattr(_backend.active(), "optimizer", reference)
    assert_close(stepped(cls(**options), weights, gradients), fast, rtol=1e-5, atol=1e-5)


def test_reference_functions_agree_with_numpy():
    for size in (1, 6, 7):
        x = np.random.default_rng(size).normal(size=(size, 3)).astype("float32")
        tensor = keras.ops.convert_to_tensor(x)
        for module in (reference, _backend.active().optimizer):
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(module.squared_norm(tensor)), (x**2).sum(), rtol=1e-6
            )
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(module.median_magnitude(tensor)),
                np.median(np.abs(x)),
                rtol=1e-6,
            )


def test_half_precision_weights_are_stepped_in_float32():
    weights, gradients = weights_and_gradients(2)
    variables = [
        keras.Variable(value, dtype="bfloat16", name=path.replace("/", "_"))
        for path, value in weights.items()
    ]
    optimizer = LARS(**FAST)
    for each in gradients:
        optimizer.apply([keras.ops.cast(value, "bfloat16") for value in each.values()], variables)
    expected = stepped(LARS(**FAST), weights, gradients)
    for variable, value in zip(variables, expected.values(), strict=True):
        found = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))
        np.testing.assert_allclose(found, value, atol=0.05, rtol=0.02)


# --- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, "less than 1"),
        ({"momentum": -0.1}, "`momentum` must be"),
        ({"trust_coefficient": 0.0}, "`trust_coefficient` must be"),
        ({"weight_decay": -1e-4}, "`weight_decay` must be"),
        ({"nesterov": 1}, "`nesterov` must be True or False"),
        ({"rate_in_momentum": "yes"}, "`rate_in_momentum` must be True or False"),
        ({"exclude": "bias"}, r"exclude=\('bias',\)"),
        ({"exclude": ("(",)}, r"regular expressions, but .* is invalid"),
        ({"decoupled": True}, "decoupled"),
    ],
)
def test_bad_arguments_say_how_to_mend_them(arguments, message):
    with pytest.raises(ValueError, match=message):
        LARS(**arguments)
