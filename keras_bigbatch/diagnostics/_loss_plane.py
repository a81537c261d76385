"""The loss on the plane through three sets of weights."""

import dataclasses
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from keras_bigbatch._measuring.axes import axes_or_new
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.mixed_weights import MixedWeights, checked_points, checked_sets
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._typing import Array, MixtureMode, Verbose, Weights


@dataclasses.dataclass(frozen=True)
class LossPlane:
    """Result of `loss_plane`.

    Attributes:
        alphas: Positions toward the second weights, one per column.
        betas: Positions toward the third weights, one per row.
        loss: The loss, of shape `(len(betas), len(alphas))`.
    """

    alphas: Array
    betas: Array
    loss: Array

    def __str__(self) -> str:
        if np.isnan(self.loss).all():
            return f"{self.loss.size} points, loss NaN at all of them"
        row, column = np.unravel_index(int(np.nanargmin(self.loss)), self.loss.shape)
        return (
            f"{self.loss.size} points, loss {np.nanmin(self.loss):.5g} to "
            f"{np.nanmax(self.loss):.5g}, lowest at alpha {self.alphas[column]:.3g}, "
            f"beta {self.betas[row]:.3g}"
        )

    def plot(self, ax: Any = None) -> Any:
        """Plots contour lines of the loss, a fixed factor apart, and the three weights as a, b, c.

        Args:
            ax: Matplotlib axes to draw on; None makes a new figure.

        Returns:
            The axes.
        """
        ax = axes_or_new(ax)
        positive = self.loss[np.isfinite(self.loss) & (self.loss > 0)]
        levels: Any = 12
        if len(positive) == self.loss.size and positive.max() > positive.min():
            levels = np.geomspace(positive.min(), positive.max(), 12)[1:-1]
        lines = ax.contour(self.alphas, self.betas, self.loss, levels=levels, cmap="viridis")
        ax.clabel(lines, fmt="%.2g", fontsize=7)
        for name, point in {"a": (0, 0), "b": (1, 0), "c": (0, 1)}.items():
            ax.plot(*point, "o", color="black", markersize=5)
            ax.annotate(name, point, xytext=(5, 5), textcoords="offset points")
        ax.set_xlabel("alpha (b: second weights)")
        ax.set_ylabel("beta (c: third weights)")
        return ax


def loss_plane(
    model: keras.Model,
    weights_a: Weights,
    weights_b: Weights,
    weights_c: Weights,
    x: Any,
    y: Any = None,
    alphas: npt.ArrayLike | None = None,
    betas: npt.ArrayLike | None = None,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: MixtureMode = "inference",
    verbose: Verbose = "auto",
) -> LossPlane:
    """Computes the loss at `a + alpha * (b - a) + beta * (c - a)`, over all the data.

    Use it to see what `linear_path` cannot show: whether there is a way around the barrier between
    two minima. Pass the initial weights or a third minimum as the third weights. The plane covers
    only two of very many directions. The axes are neither orthogonal nor of the same length: along
    alpha, a and b are 1 apart, and along beta, a and c are 1 apart, whatever their real distance
    is. A point costs as much as in `linear_path`, and the default grid has 225 points. The model is
    not changed.

    Garipov et al. instead use an orthogonal basis with equal lengths, and Li et al. use random
    directions that are scaled filter by filter.

    Args:
        model: A compiled `keras.Model` that has weights.
        weights_a: The weights at alpha 0 and beta 0, as `model.get_weights()` returned them.
        weights_b: The weights at alpha 1 and beta 0.
        weights_c: The weights at alpha 0 and beta 1.
        x: As in `fit`: arrays, lists or dictionaries of them, or a data set (tf.data, `DataLoader`,
            `PyDataset`), which must yield the same samples in each pass.
        y: As in `fit`, if `x` is arrays.
        alphas: Points along the first direction. None means 15 points from -0.5 to 1.5.
        betas: Points along the second direction. None means the same 15 points.
        sample_weight: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None. Larger is faster while memory
            lasts.
        mode: `"inference"`, `"estimated"` or `"training"`, as in `linear_path`.
        verbose: 1 for a progress bar over points, 0 for none. `"auto"`: in a terminal or notebook.

    Returns:
        A `LossPlane` with `.alphas`, `.betas`, `.loss` and `.plot()`.

    Raises:
        ValueError: If the weights do not fit the model or an argument is invalid.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    x = np.random.default_rng(0).normal(size=(256, 4))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    weights = [model.get_weights()]
    for _ in range(2):
        model.fit(x, x.sum(1), epochs=2, verbose=0)
        weights.append(model.get_weights())
    print(kbb.diagnostics.loss_plane(model, *weights, x, x.sum(1), alphas=[0, 1], betas=[0, 1]))
    ```

    References:
        - [Garipov et al., 2018](https://arxiv.org/abs/1802.10026), section 3, figure 1
        - [Li et al., 2018](https://arxiv.org/abs/1712.09913) (the loss in two dimensions)
    """
    grid = np.linspace(-0.5, 1.5, 15)
    columns, rows = checked_points("alphas", alphas, grid), checked_points("betas", betas, grid)
    sets = checked_sets(model, weights_a=weights_a, weights_b=weights_b, weights_c=weights_c)
    loss = MixedWeights(model, sets, Batches(x, y, sample_weight, batch_size), mode)
    losses = np.empty((len(rows), len(columns)))
    with Progress(losses.size, verbose, "point") as progress:
        for row, beta in enumerate(rows):
            for column, alpha in enumerate(columns):
                losses[row, column] = loss((1 - alpha - beta, alpha, beta))
                progress.add()
    return LossPlane(columns, rows, losses)
