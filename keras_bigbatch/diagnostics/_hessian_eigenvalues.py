"""The largest eigenvalues of a loss's Hessian over a data set."""

import dataclasses
import warnings
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._numerics.lanczos import lanczos
from keras_bigbatch._typing import Mode, Verbose


@dataclasses.dataclass(frozen=True)
class HessianEigenvalues:
    """Result of `hessian_eigenvalues`.

    Attributes:
        values: The `k` algebraically largest eigenvalues, in descending order.
        residuals: For each value, `|H u - value * u|` with its unit vector `u`. A true eigenvalue
            is at most this far away. The error is mostly far smaller: about the square of the
            residual divided by the distance to the next eigenvalue.
        passes: Hessian-vector products computed, each a pass over the data.
        converged: Whether all residuals fell below the tolerance.
    """

    values: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    passes: int
    converged: bool

    def __str__(self) -> str:
        rows = zip(self.values, self.residuals, strict=True)
        lines = [f"{'eigenvalue':>12}{'residual':>12}"]
        lines += [f"{value:>12.6g}{residual:>12.2g}" for value, residual in rows]
        state = "converged" if self.converged else "not converged"
        return "\n".join([*lines, f"{state} after {self.passes} passes over the data"])


def hessian_eigenvalues(
    model: keras.Model,
    x: Any,
    y: Any = None,
    k: int = 1,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: Mode = "inference",
    tolerance: float = 1e-3,
    max_iterations: int = 100,
    basis_size: int | None = None,
    seed: int = 0,
    verbose: Verbose = "auto",
) -> HessianEigenvalues:
    """Finds the largest eigenvalues of the Hessian of the training loss, over all the data.

    Use it to see how sharp the minimum is in its sharpest directions. Plain gradient descent leaves
    the minimum at a learning rate above `2 / values[0]`. The Hessian is that of the compiled loss
    with respect to all trainable variables. It is never built. Lanczos iterations with full
    reorthogonalization only need its products with vectors, each an exact pass over the data. A top
    eigenvalue takes ten to thirty-five passes. Where ReLU and similar functions have no second
    derivative, the backend's value is used. A repeated eigenvalue may be found only once. The model
    is not changed.

    Unlike PyHessian, it finds the algebraically largest eigenvalues, not those with the largest
    magnitude. It uses Lanczos instead of power iterations, which need several times as many passes,
    and its residuals tell you how exact a value is.

    Args:
        model: A compiled `keras.Model` that has weights.
        x: As in `fit`: arrays, or a data set that yields the same samples in each pass.
        y: As in `fit`, if `x` is arrays.
        k: Number of eigenvalues, at most the number of trainable values.
        sample_weight: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None.
        mode: `"inference"`: norm layers use stored statistics. `"training"`: those of each batch.
        tolerance: A value has converged when its residual is at most this fraction of it.
        max_iterations: Passes over the data after which to give up, with a warning.
        basis_size: Vectors kept on the host, at least `k + 2`; `max(12, 2 * k + 8)` if None.
        seed: Seed of the first direction.
        verbose: 1 for a progress bar over passes, 0 for none. `"auto"`: in a terminal or notebook.

    Returns:
        A `HessianEigenvalues` with `.values`, `.residuals`, `.passes` and `.converged`.

    Raises:
        ValueError: If an argument is invalid, the model is not compiled or has no weights, or a
            product is not finite.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(512, 3)) * [3.0, 2.0, 1.0]
    print(kbb.diagnostics.hessian_eigenvalues(model, x, np.zeros((512, 1)), k=2))
    print(np.linalg.eigvalsh(2 * x.T @ x / 512)[::-1])    # the same, and the third
    ```

    References:
        - [Keskar et al., 2017](https://arxiv.org/abs/1609.04836), section 2.2.2 (few are large)
        - [Pearlmutter, 1994](https://doi.org/10.1162/neco.1994.6.1.147) (the products)
        - [Wu & Simon, 2000](https://doi.org/10.1137/S0895479898334605) (Lanczos with restarts)
    """
    k = positive_integer("k", k, "It is the number of eigenvalues.")
    tolerance = positive_number("tolerance", tolerance, "It is relative: 1e-3 for three digits.")
    max_iterations = positive_integer(
        "max_iterations", max_iterations, "It is the maximum number of passes over the data."
    )
    if basis_size is None:
        basis_size = max(12, 2 * k + 8)
    basis_size = positive_integer("basis_size", basis_size, "It is the number of vectors kept.")
    if basis_size < k + 2:
        raise ValueError(
            f"`basis_size` must be at least k + 2 = {k + 2}. Received: basis_size={basis_size}. "
            "Ask for fewer eigenvalues or keep more vectors."
        )
    loss = DatasetLoss(model, Batches(x, y, sample_weight, batch_size), mode)
    if k > loss.size:
        raise ValueError(
            f"`k` must be at most the number of trainable values. Received: k={k} for a model with "
            f"{loss.size}."
        )
    with Progress(max_iterations, verbose, "pass") as progress:
        found = lanczos(
            loss.hessian_vector_product,
            loss.size,
            loss.dtype,
            k=k,
            tolerance=tolerance,
            max_products=max_iterations,
            basis_size=basis_size,
            seed=seed,
            on_product=progress.update,
        )
    if not found.converged:
        warnings.warn(
            f"After max_iterations={max_iterations} passes {len(found.values)} of {k} eigenvalues "
            f"were found, with residuals {found.residuals.tolist()}. Allow more passes, a larger "
            "basis_size or a larger tolerance.",
            stacklevel=2,
        )
    return HessianEigenvalues(found.values, found.residuals, found.products, found.converged)
