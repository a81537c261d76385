"""The loss along the straight line between two sets of weights."""

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
class LinearPath:
    """Result of `linear_path`.

    Attributes:
        alphas: Points on the line. 0 is the first set of weights, 1 is the second.
        loss: The loss at each of them.
    """

    alphas: Array
    loss: Array

    def __str__(self) -> str:
        rows = zip(self.alphas, self.loss, strict=True)
        lines = [f"{alpha:>8.3f}{loss:>12.5g}" for alpha, loss in rows]
        return "\n".join([f"{'alpha':>8}{'loss':>12}", *lines])

    def plot(self, ax: Any = None) -> Any:
        """Plots the loss over alpha, with the two ends marked, and returns the axes."""
        ax = axes_or_new(ax)
        (line,) = ax.plot(self.alphas, self.loss, "o-", markersize=3)
        for end in (0.0, 1.0):
            ax.axvline(end, linewidth=0.8, linestyle=":", color=line.get_color())
        ax.set_xlabel("alpha (0: first weights, 1: second weights)")
        ax.set_ylabel("loss")
        return ax


def linear_path(
    model: keras.Model,
    weights_a: Weights,
    weights_b: Weights,
    x: Any,
    y: Any = None,
    alphas: npt.ArrayLike | None = None,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: MixtureMode = "inference",
    verbose: Verbose = "auto",
) -> LinearPath:
    """Computes the loss at `(1 - alpha) * weights_a + alpha * weights_b`, over all the data.

    Use it to see whether there is a barrier between two minima, and which of them is narrower along
    this line. The line is only one of very many directions. With batch norm or ReLU, rescaled
    weights give the same function but look wider or narrower, so only compare weights of similar
    norm. The model provides its architecture and its compiled loss, and is not changed. `mode`
    chooses the batch norm statistics at points in between:

    - `"inference"`: the moving statistics of the two ends, interpolated like the weights. It costs
      one pass over the data per point, and equals `evaluate` at the ends. In between, the
      statistics do not match the activations, so there may seem to be a barrier where there is
      none. (Beyond the ends, a variance is at least the smaller of the two.)
    - `"estimated"`: the statistics at which training with the mixed weights would settle. They are
      estimated on the same data in two more forward passes per point. At the ends, they differ a
      little from the stored ones.
    - `"training"`: the statistics of each batch, as in training and in the paper's code. Use the
      batch size that you trained with. Random layers are on, with the same numbers at each point.

    Args:
        model: A compiled `keras.Model` that has weights.
        weights_a: The weights at alpha 0, as `model.get_weights()` returned them.
        weights_b: The weights at alpha 1.
        x: As in `fit`: arrays, or a data set that yields the same samples in each pass.
        y: As in `fit`, if `x` is arrays.
        alphas: The points. None means 25 points from -1 to 2, as in the paper.
        sample_weight: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None.
        mode: `"inference"`, `"estimated"` or `"training"`, as above.
        verbose: 1 for a progress bar over points, 0 for none. `"auto"`: in a terminal or notebook.

    Returns:
        A `LinearPath` with `.alphas`, `.loss` and `.plot()`.

    Raises:
        ValueError: If the weights do not fit the model or an argument is invalid.

    Example:

    ```python
    import keras, numpy as np, keras_bigbatch as kbb
    x = np.random.default_rng(0).normal(size=(256, 4))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    start = model.get_weights()
    model.fit(x, x.sum(1), epochs=5, verbose=0)
    print(kbb.diagnostics.linear_path(model, start, model.get_weights(), x, x.sum(1)))
    ```

    References:
        - [Goodfellow et al., 2015](https://arxiv.org/abs/1412.6544), section 3 (the method)
        - [Keskar et al., 2017](https://arxiv.org/abs/1609.04836), section 2.2.1, figure 3
    """
    points = checked_points("alphas", alphas, np.linspace(-1, 2, 25))
    sets = checked_sets(model, weights_a=weights_a, weights_b=weights_b)
    loss = MixedWeights(model, sets, Batches(x, y, sample_weight, batch_size), mode)
    losses = []
    with Progress(len(points), verbose, "point") as progress:
        for alpha in points:
            losses.append(loss((1 - alpha, alpha)))
            progress.add()
    return LinearPath(points, np.array(losses))
