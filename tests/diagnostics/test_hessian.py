"""Eigenvalues and trace of the Hessian beside NumPy's, and what it takes to find them."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._numerics.lanczos import lanczos
from keras_bigbatch.diagnostics import hessian_eigenvalues, hessian_trace
from tests.diagnostics.models import (
    RNG,
    X,
    Y,
    dense,
    everything_of,
    flat_weights,
    normalized,
    numpy_gradient,
    numpy_hessian,
)

WIDTH = 40  # 282 weights


def trained():
    model = dense(WIDTH)
    model.fit(X, Y, epochs=20, batch_size=10, verbose=0)
    return model


def hessian_of(model, **options):
    def gradient(weights):
        return numpy_gradient(weights, WIDTH, **options)[1]

    return numpy_hessian(gradient, flat_weights(model))


# --- Lanczos alone ---------------------------------------------------------------------------


def found_of(matrix, dtype=np.float64, k=1, tolerance=1e-3, products=500, basis=None, seed=0):
    def product(vector):
        return (matrix @ vector).astype(dtype)

    return lanczos(
        product,
        len(matrix),
        np.dtype(dtype),
        k=k,
        tolerance=tolerance,
        max_products=products,
        basis_size=basis or max(12, 2 * k + 8),
        seed=seed,
    )


def symmetric(values, seed=0):
    turned = np.random.default_rng(seed).normal(size=(len(values), len(values)))
    turned = np.linalg.qr(turned)[0]
    return (turned * values) @ turned.T


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 60),
    k=st.integers(1, 5),
    basis=st.integers(7, 20),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 1000),
)
def test_lanczos_finds_eigenvalues_of_any_symmetric_matrix(size, k, basis, dtype, seed):
    matrix = symmetric(np.random.default_rng(seed).normal(size=size), seed)
    k = min(k, size)
    found = found_of(matrix, dtype, k, 1e-3, 2000, basis, seed)
    assert found.converged
    assert len(found.values) == len(found.residuals) == k
    assert (np.diff(found.values) <= 0).all()
    exact = np.linalg.eigvalsh(matrix)
    error = np.abs(found.values[:, None] - exact).min(axis=1)
    assert (error <= np.maximum(found.residuals, 2e-5)).all()


@pytest.mark.parametrize("power", [1, 6])
def test_lanczos_finds_the_largest(power):
    """Also where they are crowded; in one matrix of some hundreds it may pass one over."""
    missed = 0
    for seed in range(100):
        values = np.random.default_rng(seed).normal(size=60) ** power
        exact = np.sort(values)[::-1][:4]
        found = found_of(symmetric(values, seed), np.float32, k=4, seed=seed)
        missed += not np.allclose(found.values, exact, rtol=1e-3, atol=1e-5 * exact[0])
    assert missed <= 1


def test_lanczos_restarts_in_a_small_basis():
    matrix = symmetric(np.linspace(0, 1, 300) ** 4)
    exact = np.linalg.eigvalsh(matrix)[::-1]
    large, small = found_of(matrix, k=2, basis=300), found_of(matrix, k=2, basis=6)
    for found in (large, small):
        np.testing.assert_allclose(found.values, exact[:2], rtol=1e-3)
    assert small.products < 10 * large.products


def test_lanczos_of_low_rank_and_of_nothing():
    values = np.zeros(50)
    values[:3] = [5.0, 2.0, -9.0]
    found = found_of(symmetric(values), k=3)
    np.testing.assert_allclose(found.values, [5, 2, 0], atol=1e-9)
    assert found.converged
    nothing = found_of(np.zeros((20, 20)), k=2)
    assert nothing.values.tolist() == [0, 0]


def test_lanczos_gives_up_and_says_so():
    matrix = symmetric(np.linspace(0.9, 1, 200))
    found = found_of(matrix, k=3, tolerance=1e-9, products=7)
    assert not found.converged
    assert found.products == 7
    assert (found.residuals > 1e-9).all()


# --- a network -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 16])
def test_eigenvalues_are_those_of_numpy(batch_size):
    model = trained()
    exact = np.linalg.eigvalsh(hessian_of(model))[::-1]
    found = hessian_eigenvalues(model, X, Y, k=5, batch_size=batch_size)
    assert found.converged
    assert found.values.shape == found.residuals.shape == (5,)
    np.testing.assert_allclose(found.values, exact[:5], rtol=1e-3)
    assert (np.abs(found.values - exact[:5]) <= found.residuals + 1e-5 * exact[0]).all()
    one = hessian_eigenvalues(model, X, Y, batch_size=batch_size)
    assert one.values == pytest.approx(exact[:1], rel=1e-3)
    assert one.passes < found.passes < 60


def test_eigenvalues_with_sample_weights():
    model = trained()
    weights = RNG.uniform(0, 3, len(X))
    exact = np.linalg.eigvalsh(hessian_of(model, sample_weight=weights))[::-1]
    found = hessian_eigenvalues(model, X, Y, k=2, sample_weight=weights, batch_size=20)
    np.testing.assert_allclose(found.values, exact[:2], rtol=1e-3)


def test_eigenvalues_beside_power_iterations():
    """The algorithm of PyHessian: power iterations, and deflation for the second."""
    model = trained()
    loss = DatasetLoss(model, Batches(X, Y))
    vectors, values, products = [], [], 0
    for _ in range(2):
        vector = RNG.normal(size=loss.size)
        value = np.inf
        for _ in range(1000):
            for known in vectors:
                vector -= known @ vector * known
            vector /= np.linalg.norm(vector)
            image = loss.hessian_vector_product(vector)
            products += 1
            value, before = float(image @ vector), value
            if abs(value - before) < 1e-5 * abs(value):
                break
            vector = image.astype(np.float64)
        vectors.append(vector / np.linalg.norm(vector))
        values.append(value)
    found = hessian_eigenvalues(model, X, Y, k=2)
    np.testing.assert_allclose(found.values, values, rtol=1e-3)
    assert found.passes < products


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="jax.hessian needs JAX")
def test_eigenvalues_beside_jax_hessian():
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    model = normalized(dropout=0.0)
    state = [v.value for v in model.non_trainable_variables]
    values, tree = ravel_pytree([v.value for v in model.trainable_variables])

    def loss(flat):
        y, _, losses = model.stateless_call(tree(flat), state, X, training=True, return_losses=True)
        return jnp.mean((y - Y) ** 2) + sum(losses)

    exact = np.asarray(jax.jit(jax.hessian(loss))(values), np.float64)
    found = hessian_eigenvalues(model, X, Y, k=3, mode="training")
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(exact)[::-1][:3], rtol=1e-3)
    trace = hessian_trace(model, X, Y, draws=10_000, mode="training")
    assert trace.value == pytest.approx(np.trace(exact), rel=1e-3)


def test_all_eigenvalues_of_a_small_model():
    model = dense(2)
    exact = np.linalg.eigvalsh(
        numpy_hessian(lambda w: numpy_gradient(w, 2)[1], flat_weights(model))
    )[::-1]
    found = hessian_eigenvalues(model, X, Y, k=16, basis_size=18)
    np.testing.assert_allclose(found.values, exact, rtol=1e-3, atol=1e-5)


def test_trace_is_that_of_numpy():
    model = trained()
    exact = hessian_of(model)
    found = hessian_trace(model, X, Y, draws=1000)
    assert found.value == pytest.approx(np.trace(exact), rel=1e-3)
    assert (found.standard_error, found.draws) == (0.0, 282)


def test_hutchinson_and_its_error():
    model = trained()
    exact = hessian_of(model)
    off_diagonal = exact - np.diag(np.diag(exact))
    spread = np.sqrt(2 * (off_diagonal**2).sum())
    found = hessian_trace(model, X, Y, draws=200, seed=1)
    assert found.draws == 200
    assert found.standard_error == pytest.approx(spread / np.sqrt(200), rel=0.3)
    assert abs(found.value - np.trace(exact)) < 4 * found.standard_error
    again, other = (hessian_trace(model, X, Y, draws=5, seed=seed) for seed in (1, 2))
    assert again == hessian_trace(model, X, Y, draws=5, seed=1) != other


def test_model_stays_as_it_was():
    model = normalized()
    model.fit(X, Y, verbose=0)
    before = everything_of(model)
    hessian_eigenvalues(model, X, Y, k=2, mode="training")
    hessian_trace(model, X, Y, draws=3)
    assert everything_of(model) == before


@pytest.mark.filterwarnings("ignore:__array__")  # Keras's on torch, which pytest.warns lets through
def test_says_that_it_did_not_converge():
    model = trained()
    with pytest.warns(UserWarning, match="max_iterations=3"):
        found = hessian_eigenvalues(model, X, Y, k=2, max_iterations=3, tolerance=1e-6)
    assert not found.converged
    assert found.passes == 3
    assert "not converged after 3 passes" in str(found)


def test_a_loss_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        hessian_eigenvalues(dense(), X * np.float32(np.nan), Y)


def test_progress_is_shown_on_request(capsys):
    hessian_trace(dense(), X, Y, draws=2)
    assert capsys.readouterr().out == ""
    hessian_trace(dense(), X, Y, draws=2, verbose=1)
    assert "2/2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"k": 0}, "`k` must be a positive integer"),
        ({"k": 87}, "k=87 for a model with 86"),
        ({"k": 5, "basis_size": 6}, "at least k \\+ 2 = 7"),
        ({"tolerance": 0}, "tolerance"),
        ({"max_iterations": 1.5}, "max_iterations"),
    ],
)
def test_bad_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        hessian_eigenvalues(dense(), X, Y, **options)


@pytest.mark.parametrize("draws", [0, 1, 2.5])
def test_bad_draws(draws):
    with pytest.raises(ValueError, match="draws"):
        hessian_trace(dense(), X, Y, draws=draws)
