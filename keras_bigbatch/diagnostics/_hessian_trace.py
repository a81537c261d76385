"""The trace of a loss's Hessian over a data set."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_bigbatch._arguments import at_least_two
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._typing import Mode, Verbose


@dataclasses.dataclass(frozen=True)
class HessianTrace:
    """Result of `hessian_trace`.

    Attributes:
        value: The estimated trace, which is the sum of all eigenvalues.
        standard_error: The standard error of `value`, or 0 if the trace was computed exactly.
        draws: Hessian-vector products computed, each a pass over the data.
    """

    value: float
    standard_error: float
    draws: int

    def __str__(self) -> str:
        return f"trace {self.value:.6g} +- {self.standard_error:.2g} ({self.draws} draws)"


def hessian_trace(
    model: keras.Model,
    x: Any,
    y: Any = None,
    draws: int = 30,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: Mode = "inference",
    seed: int = 0,
    verbose: Verbose = "auto",
) -> HessianTrace:
    """Estimates the trace of the Hessian of the training loss, over all the data.

    Use it for the mean curvature over all directions (divide by the number of weights). For the
    largest curvatures, use `hessian_eigenvalues`. It is Hutchinson's estimator, the mean over draws
    of `z . H z` with random signs `z`. The estimate is unbiased, with a variance of
    `2 * sum of H_ij ^ 2 over i != j` per draw. Four times as many draws halve the standard error,
    so only ask for a rough number. With at least as many draws as trainable values, the diagonal is
    computed and the error is 0. The model is not changed, even after an error or an interrupt.

    Unlike PyHessian, it returns the standard error, and the number of draws is fixed. PyHessian
    stops when the running mean changes little, which amounts to stopping at random.

    Args:
        model: A compiled `keras.Model` that has weights.
        x: As in `fit`: arrays, lists or dictionaries of them, or a data set (tf.data, `DataLoader`,
            `PyDataset`), which must yield the same samples in each pass.
        y: As in `fit`, if `x` is arrays.
        draws: Random vectors, each a pass over the data; 2 or more.
        sample_weight: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None. Larger is faster while memory
            lasts.
        mode: `"inference"`: norm layers use their stored statistics, as in `evaluate`.
            `"training"`: they use those of each batch, and random layers draw the same numbers for
            every product.
        seed: Seed of the random signs.
        verbose: 1 for a progress bar over draws, 0 for none. `"auto"`: in a terminal or notebook.

    Returns:
        A `HessianTrace` with `.value`, `.standard_error` and `.draws`.

    Raises:
        ValueError: If an argument is invalid, or the model is not compiled or has no weights.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(512, 8))
    print(kbb.diagnostics.hessian_trace(model, x, np.zeros((512, 1)), draws=8))
    print(2 * np.square(x).sum() / 512)    # the same: 8 draws are enough for 8 weights
    ```

    References:
        - [Hutchinson, 1990](https://doi.org/10.1080/03610919008812866)
        - [Yao et al., 2020](https://arxiv.org/abs/1912.07145), section 3 (PyHessian)
    """
    draws = at_least_two("draws", draws, "It is the number of passes over the data: use 30.")
    loss = DatasetLoss(model, Batches(x, y, sample_weight, batch_size), mode)
    exact = draws >= loss.size
    draws = min(draws, loss.size)
    random = np.random.default_rng(seed)
    products = []
    with Progress(draws, verbose, "draw") as progress:
        for draw in range(draws):
            if exact:
                vector = np.zeros(loss.size, loss.dtype)
                vector[draw] = 1
            else:
                signs = random.integers(0, 2, loss.size, np.int8)
                vector = 2 * signs.astype(loss.dtype) - 1
            image = loss.hessian_vector_product(vector)
            products.append(float(np.sum(vector * image, dtype=np.float64)))
            progress.update(draw + 1)
    if exact:
        return HessianTrace(math.fsum(products), 0.0, draws)
    error = float(np.std(products, ddof=1)) / math.sqrt(draws)
    return HessianTrace(math.fsum(products) / draws, error, draws)
