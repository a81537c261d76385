"""The largest eigenvalues of a symmetric operator that is known only by its products."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_bigbatch._typing import Array, Vector

# Residuals below this share of the largest eigenvalue are rounding errors of the products.
_ROUNDING = {np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-13}


@dataclasses.dataclass(frozen=True)
class RitzValues:
    """Result of `lanczos`: the values in descending order, and how exact they are."""

    values: Array
    residuals: Array
    products: int
    converged: bool


def lanczos(
    product: Callable[[Vector], Vector],
    size: int,
    dtype: np.dtype[Any],
    *,
    k: int,
    tolerance: float,
    max_products: int,
    basis_size: int,
    seed: int,
    on_product: Callable[[int], Any] | None = None,
) -> RitzValues:
    """Thick-restart Lanczos (Wu & Simon, 2000) with full reorthogonalization.

    The projected matrix is dense. It is filled from the projections that the orthogonalization
    computes anyway, so restarts and breakdowns need no special case. Where the space is exhausted
    (`beta` is 0), the iteration continues with a random direction orthogonal to it.

    Args:
        product: Returns the operator times a vector.
        size: Length of a vector.
        dtype: Type of the vectors. Projections are computed and kept in float64.
        k: Number of values.
        tolerance: Bound on `|A u - theta u| / |theta|` for each value.
        max_products: Products after which it gives up.
        basis_size: Vectors kept, k + 2 or more (fewer if `size` is smaller).
        seed: Seed of the first vector.
        on_product: Called with the number of products so far.
    """
    random = np.random.default_rng(seed)
    capacity = min(basis_size, size)
    basis = np.empty((capacity, size), dtype)
    projected = np.zeros((capacity, capacity))
    used, products = 0, 0
    vector: Vector = random.standard_normal(size, np.float32).astype(dtype)
    while True:
        basis[used] = _orthonormal(vector, basis[:used], random)
        image = product(basis[used])
        products += 1
        if on_product is not None:
            on_product(products)
        if not np.isfinite(image).all():
            raise ValueError(
                "A Hessian-vector product is not finite: the loss or a derivative overflows or is "
                "NaN at these weights. Check the model with `model.evaluate`."
            )
        used += 1
        vector, column = _project(image, basis[:used])
        projected[used - 1, :used] = projected[:used, used - 1] = column
        values, coordinates = np.linalg.eigh(projected[:used, :used])
        values, coordinates = values[::-1], coordinates[:, ::-1]
        beta = float(np.linalg.norm(vector))
        residuals = beta * np.abs(coordinates[-1])
        largest = np.abs(values).max()
        floor = _ROUNDING[np.dtype(dtype)] * largest
        accurate = residuals[:k] <= np.maximum(tolerance * np.abs(values[:k]), floor)
        # The next value need not be exact, but it must be settled: a value whose direction is weak
        # in the first vector shows late, and would be missed.
        settled = used > k and residuals[k] <= tolerance * largest + floor
        converged = used == size or (used >= k and bool(accurate.all()))
        if products >= max_products or used == size or (converged and settled):
            return RitzValues(values[:k].copy(), residuals[:k].copy(), products, converged)
        if used == capacity:
            # Keep the best half of the directions. All their residuals point along `vector`.
            used = _kept(k, capacity)
            basis[:used] = coordinates[:, :used].T.astype(dtype) @ basis
            projected[:] = 0.0
            projected[range(used), range(used)] = values[:used]


def _kept(k: int, capacity: int) -> int:
    return min(max(k + 1, (k + capacity) // 2), capacity - 1)


def _project(vector: Vector, basis: Vector) -> tuple[Vector, Array]:
    """Returns the part of the vector outside the basis, and its coordinates in the basis.

    It projects twice: after one pass the rest may be orthogonal to only a few digits.
    """
    coordinates = np.zeros(len(basis))
    for _ in range(2):
        share = basis @ vector
        vector = vector - share @ basis
        coordinates += share
    return vector, coordinates


def _orthonormal(vector: Vector, basis: Vector, random: np.random.Generator) -> Vector:
    """Returns the vector's direction outside the basis, or a random one if nothing is left."""
    while True:
        length = np.linalg.norm(vector)
        rest, _ = _project(vector, basis)
        remaining = np.linalg.norm(rest)
        if remaining > 0.1 * length:
            return rest / remaining
        vector = random.standard_normal(len(vector), np.float32).astype(vector.dtype)
