"""The loss along the straight line between two sets of weights."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_bigbatch._measuring.axes import axes_or_new
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.mixed_weights import MixedWeights, checked_points
from keras_bigbatch._typing import Array, MixtureMode


@dataclasses.dataclass(frozen=True)
class LinearPath:
    """What `linear_path` found.

    Attributes:
        alphas: Points on the line: 0 is the first set of weights, 1 the second.
        loss: The loss at each of them.
    """

    alphas: Array
    loss: Array

    def __str__(self) -> str:
        rows = zip(self.alphas, self.loss, strict=True)
        lines = [f"{alpha:>8.3f}{loss:>12.5g}" for alpha, loss in rows]
        return "\n".join([f"{'alpha':>8}{'loss':>12}", *lines])

    def plot(self, ax: Any = None) -> Any:
        """Draws the loss over alpha, with the two ends marked, and returns the axes."""
        ax = axes_or_new(ax)
        (line,) = ax.plot(self.alphas, self.loss, "o-", markersize=3)
        for end in (0.0, 1.0):
            ax.axvline(end, linewidth=0.8, linestyle=":", color=line.get_color())
        ax.set_xlabel("alpha (0: first weights, 1: second weights)")
        ax.set_ylabel("loss")
        return ax


def linear_path(
    model: Any,
    weights_a: Sequence[Any],
    weights_b: Sequence[Any],
    x: Any,
    y: Any = None,
    alphas: Sequence[float] | Any | None = None,
    *,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: MixtureMode = "inference",
    verbose: int = 0,
) -> LinearPath:
    """Computes the loss at `(1 - alpha) * weights_a + alpha * weights_b`, over all the data.

    Use it to look at two minima, for instance those of a small and of a large batch, and at what
    lies between and beyond them: whether there is a barrier, and which of them is the narrower
    along this line. That is one direction of very many. And a network with batch norm or ReLU has
    the same function at rescaled weights, where the curve looks wider or narrower, so compare
    weights of similar norm only.

    The model lends its architecture and compiled loss; its own weights play no part, and are not
    changed. Regularizers and `add_loss` are part of the loss, as in `evaluate`.

    Batch norm decides what the curve looks like. `mode` says which mean and variance it has at a
    point in between:

    - `"inference"`: the moving statistics of the two ends, interpolated as the weights are. It is
      the cheapest, one pass over the data a point, and what `evaluate` gives at the ends. In
      between they do not belong to the activations there, and may show a barrier where there is
      none. (Beyond the ends a variance is at least the smaller of the two.)
    - `"estimated"`: those at which training with the mixed weights would settle, estimated over
      the same data first: two forward passes more. At the ends they differ a little from the
      stored ones.
    - `"training"`: those of each batch, as in training and in the paper's code: take batches of
      the training's size. Random layers are on, with the same numbers at each point.

    Models without batch norm give the same for the first two. From the paper's own code it differs
    in that it takes two sets of weights and no training of its own, and names the choice above.
    The loss-landscapes package leaves the statistics of the model in place for all points.

    Args:
        model: A compiled `keras.Model` that has weights.
        weights_a: The weights at alpha 0, as `model.get_weights()` gave them.
        weights_b: The weights at alpha 1.
        x: As in `fit`: arrays, lists or dictionaries of them, a `tf.data.Dataset`, a torch
            `DataLoader` or a `PyDataset`. It is read once a point or more.
        y: As in `fit`.
        alphas: The points; 25 from -1 to 2 if None, as in the paper.
        sample_weight: As in `fit`, with arrays.
        batch_size: Samples a batch, with arrays; 256 if None.
        mode: `"inference"`, `"estimated"` or `"training"`, as above.
        verbose: 1 for a progress bar, a step a point.

    Returns:
        A `LinearPath` with `.alphas`, `.loss` and `.plot()`.

    Raises:
        ValueError: If the weights do not fit the model or an argument is not as above.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    x = np.random.default_rng(0).normal(size=(256, 4))
    y = np.sin(x.sum(1))
    model = keras.Sequential([keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.build((None, 4))
    start = model.get_weights()
    model.fit(x, y, epochs=5, verbose=0)
    path = kbb.diagnostics.linear_path(model, start, model.get_weights(), x, y)
    print(path)
    ```

    References:
        - [Goodfellow et al., 2015](https://arxiv.org/abs/1412.6544), section 3 (the method)
        - [Keskar et al., 2017](https://arxiv.org/abs/1609.04836), section 2.2.1, figure 3
    """
    points = checked_points("alphas", alphas, np.linspace(-1, 2, 25))
    sets = {"weights_a": weights_a, "weights_b": weights_b}
    loss = MixedWeights(model, sets, Batches(x, y, sample_weight, batch_size), mode)
    bar = keras.utils.Progbar(len(points), verbose=verbose, unit_name="point")
    losses = []
    for number, alpha in enumerate(points, 1):
        losses.append(loss((1 - alpha, alpha)))
        bar.update(number)
    return LinearPath(points, np.array(losses))
