"""Sparse gradients and mixed precisions: whatever Keras's SGD takes, with the same result."""

import keras
import numpy as np
import pytest

from keras_bigbatch.optimizers import (
    CBLR,
    LARS,
    MCLR,
    ClipFirstUpdates,
    LayerwiseOptimizer,
    PercentDelta,
)
from tests.optimizers.steps import variables_of

BACKEND = keras.backend.backend()
SHAPE = (5, 4)
ROWS, VALUES = [0, 2, 2, 4], np.linspace(0.5, 2, 16, dtype="float32").reshape(4, 4)
FAST = {"learning_rate": 0.05, "trust_coefficient": 0.2, "weight_decay": 1e-3}

# Keras has no float64 on JAX, unless JAX is told.
TYPES = ["float32", "bfloat16", "float16"] + ["float64"] * (BACKEND != "jax")
WIDEST = "float64" if "float64" in TYPES else "float32"
ROUNDING = {"float64": 1e-6, "float32": 1e-6, "float16": 4e-3, "bfloat16": 3e-2}


def dense():
    gradient = np.zeros(SHAPE, "float32")
    np.add.at(gradient, ROWS, VALUES)
    return gradient


def jax_rows():
    """As of an embedding: whole rows, one of them twice."""
    from jax.experimental import sparse

    return sparse.BCOO((VALUES, np.array(ROWS)[:, None]), shape=SHAPE)


def jax_elements():
    from jax.experimental import sparse

    return sparse.BCOO.fromdense(dense())


def tensorflow_rows():
    import tensorflow as tf

    return tf.IndexedSlices(tf.constant(VALUES), tf.constant(ROWS), tf.constant(SHAPE))


def torch_rows():
    import torch

    return torch.sparse_coo_tensor([ROWS], torch.tensor(VALUES), SHAPE)


def torch_compressed():
    import torch

    return torch.tensor(dense()).to_sparse_csr()


KINDS = {
    "jax": [jax_rows, jax_elements],
    "tensorflow": [tensorflow_rows],  # Keras takes no other kind there
    "torch": [torch_rows, torch_compressed],
}[BACKEND]


def after(optimizer, gradient, updates=2, dtype="float32"):
    start = np.random.default_rng(0).normal(size=SHAPE)
    [variable] = variables_of({"a/kernel": start.astype("float32")})
    if dtype != "float32":
        variable = keras.Variable(start.astype("float32"), dtype=dtype, name="kernel")
    for _ in range(updates):
        optimizer.apply([gradient], [variable])
    assert keras.backend.standardize_dtype(variable.dtype) == dtype
    return keras.ops.convert_to_numpy(keras.ops.cast(variable, WIDEST))


RULES = [LARS, MCLR, PercentDelta, CBLR]


@pytest.mark.filterwarnings("ignore:Sparse (CSR|invariant)")
@pytest.mark.filterwarnings("ignore:Converting sparse IndexedSlices")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
class TestSparse:
    def test_excluded_variables_move_as_under_sgd(self, kind, momentum):
        found = after(LARS(0.05, momentum, exclude=("",)), kind())
        sgd = after(keras.optimizers.SGD(0.05, momentum), keras.ops.convert_to_tensor(dense()))
        np.testing.assert_allclose(found, sgd, rtol=1e-6, atol=1e-7)

    @pytest.mark.parametrize("cls", RULES)
    def test_others_move_as_by_the_plain_gradient(self, kind, momentum, cls):
        found = after(cls(**FAST, momentum=momentum), kind())
        expected = after(cls(**FAST, momentum=momentum), keras.ops.convert_to_tensor(dense()))
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)

    def test_clipping_at_first_sees_all_of_it(self, kind, momentum):
        found, expected = (
            after(ClipFirstUpdates(keras.optimizers.SGD(0.05, momentum), 1.0), gradient)
            for gradient in (kind(), keras.ops.convert_to_tensor(dense()))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("gradient_type", TYPES)
@pytest.mark.parametrize("weight_type", TYPES)
def test_precisions_mix_as_under_sgd(weight_type, gradient_type):
    gradient = keras.ops.cast(dense(), gradient_type)
    found = after(LARS(0.05, 0.9, exclude=("",)), gradient, dtype=weight_type)
    sgd = after(keras.optimizers.SGD(0.05, 0.9), gradient, dtype=weight_type)
    rounding = ROUNDING[weight_type]
    np.testing.assert_allclose(found, sgd, rtol=rounding, atol=rounding)
    # A rule sees float32 or wider, whatever comes in.
    adapted = after(LARS(**FAST), gradient, dtype=weight_type)
    expected = after(LARS(**FAST), keras.ops.cast(gradient, "float32"))
    np.testing.assert_allclose(adapted, expected, rtol=rounding, atol=rounding)


class Told(LayerwiseOptimizer):
    """A rule whose ratio is whatever it is told, in whatever precision."""

    def __init__(self, ratio):
        super().__init__(1.0, 0.0, 0.5)
        self.ratio = ratio

    def trust_ratio(self, weight, gradient, weight_decay):
        return self.ratio(weight)


RATIOS = {
    "float": lambda weight: 3.0,
    "int": lambda weight: 3,
    "NumPy": lambda weight: np.float64(3.0),
    **{each: lambda weight, each=each: keras.ops.full((), 3.0, dtype=each) for each in TYPES},
    "elements": lambda weight: keras.ops.full(SHAPE, 3.0, dtype="float16"),
}


@pytest.mark.parametrize("weight_type", TYPES)
@pytest.mark.parametrize("ratio", RATIOS.values(), ids=RATIOS)
@pytest.mark.filterwarnings("ignore:.*without weight decay")
def test_a_ratio_may_be_a_number_or_of_another_precision(ratio, weight_type):
    gradient = keras.ops.cast(dense(), weight_type)
    found = after(Told(ratio), gradient, 1, weight_type)
    expected = after(keras.optimizers.SGD(1.5), keras.ops.cast(gradient, "float32"), 1)
    rounding = ROUNDING[weight_type]
    np.testing.assert_allclose(found, expected, rtol=rounding, atol=4 * rounding)
