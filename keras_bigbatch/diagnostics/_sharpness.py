"""Keskar's sharpness: how much the loss can rise in a small box around the weights."""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np

from keras_bigbatch._arguments import boolean, one_of, positive_integer, positive_number
from keras_bigbatch._measuring.batches import Batches
from keras_bigbatch._measuring.dataset_loss import DatasetLoss
from keras_bigbatch._measuring.progress import Progress
from keras_bigbatch._numerics.box_maximizer import MAXIMIZERS, Maximizer, maximize_in_box
from keras_bigbatch._numerics.random_subspace import RandomSubspace
from keras_bigbatch._typing import Array, Mode, Verbose


@dataclasses.dataclass(frozen=True)
class Sharpness:
    """Result of `sharpness`: a lower bound, because no search is sure to find the highest point.

    Attributes:
        value: The sharpness in percent, `100 * (max_loss - loss) / (1 + loss)`.
        loss: The loss at the weights.
        max_loss: The largest loss found in the box.
        maximizer: The maximizer that found it: `"ascent"` or `"l-bfgs-b"`.
        converged: Whether as many starts as requested reached this maximum, within a thousandth.
        passes: Passes over the data, each of which computes a gradient.
        found: The largest loss of each start, by maximizer. If they are far apart, the search was
            hard.
    """

    value: float
    loss: float
    max_loss: float
    maximizer: Maximizer
    converged: bool
    passes: int
    found: dict[Maximizer, tuple[float, ...]]

    def __str__(self) -> str:
        state = "starts agree" if self.converged else "starts do not agree"
        lines = [
            f"sharpness {self.value:.5g} % or more",
            f"loss {self.loss:.6g}, in the box {self.max_loss:.6g} ({self.maximizer})",
        ]
        for name, losses in self.found.items():
            if losses:
                low, high = min(losses), max(losses)
                lines.append(f"{name}: {len(losses)} starts, {low:.6g} to {high:.6g}")
        return "\n".join([*lines, f"{state} after {self.passes} passes over the data"])


def sharpness(
    model: keras.Model,
    x: Any,
    y: Any = None,
    epsilon: float = 1e-3,
    subspace: int | None = None,
    *,
    adaptive: bool = False,
    sample_weight: Any = None,
    batch_size: int | None = None,
    mode: Mode = "inference",
    maximizer: Maximizer | Literal["both"] = "both",
    starts: int = 3,
    max_iterations: int = 120,
    seed: int = 0,
    verbose: Verbose = "auto",
) -> Sharpness:
    """Measures how much the training loss can rise in a small box around the weights.

    Use it to compare the minima of a small and a large batch. It is the measure of Keskar et al.,
    in percent: `100 * (max of loss(w + y) - loss(w)) / (1 + loss(w))`, over all `y` in the box
    `|y_i| <= epsilon * (|w_i| + 1)`. With `subspace=p`, the search is limited to `y = A z` for a
    `weights x p` matrix A of standard normal numbers, and the box is
    `|z_i| <= epsilon * (|(A^+ w)_i| + 1)`. With `adaptive=True`, the box is relative to each
    weight, as in Kwon et al., so rescaling layers changes nothing: `|y_i| <= epsilon * |w_i|`, or
    `y = |w| * A z` with `|z_i| <= epsilon`.

    The value is a lower bound. SciPy's L-BFGS-B and steps along the signs of the gradient take
    turns, each from a new random point in the box, until `starts` of them reach the same maximum or
    `max_iterations` passes are used (see `.found` and `.converged`). The model is not changed. The
    paper instead runs ten L-BFGS-B iterations from one start, which end too low at very flat
    minima.

    Args:
        model: A compiled `keras.Model` that has weights.
        x: As in `fit`: arrays, or a data set that yields the same samples in each pass.
        y: As in `fit`, if `x` is arrays.
        epsilon: Size of the box. The paper uses 1e-3 and 5e-4.
        subspace: Dimension p, at most the number of trainable values, or None for the full space.
        adaptive: Whether the box is relative to each weight.
        sample_weight: As in `fit`, if `x` is arrays.
        batch_size: Samples per batch if `x` is arrays; 256 if None.
        mode: `"inference"`: norm layers use stored statistics. `"training"`: those of each batch.
        maximizer: `"both"`, `"l-bfgs-b"` or `"ascent"`. The first two need SciPy.
        starts: Starts that must agree. If they do not, each maximizer makes at least this many.
        max_iterations: Maximum passes over the data after the first, shared evenly by the starts.
        seed: Seed of the starts and the subspace. Use the same seed to compare models.
        verbose: 1 for a progress bar over passes, 0 for none. `"auto"`: in a terminal or notebook.

    Returns:
        A `Sharpness` with `.value`, `.loss`, `.max_loss` and how they were found.

    Raises:
        ValueError: If an argument is invalid, the model is not compiled or has no weights, the loss
            is -1 or less (add a constant to it), or it is not finite in the box.
        ImportError: If SciPy is needed but not installed.

    Example:

    ```python
    import keras, numpy as np, keras_bigbatch as kbb
    x = np.random.default_rng(0).normal(size=(256, 4))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    print(kbb.diagnostics.sharpness(model, x, np.sin(x.sum(1))))
    ```

    References:
        - [Keskar et al., 2017](https://arxiv.org/abs/1609.04836), section 2.2.2, metric 2.1
        - [Kwon et al., 2021](https://arxiv.org/abs/2102.11600), section 3 (adaptive sharpness)
    """
    epsilon = positive_number("epsilon", epsilon, "It is the size of the box, 1e-3 in the paper.")
    adaptive = boolean("adaptive", adaptive)
    starts = positive_integer("starts", starts, "It is the number of starts that must agree.")
    seed = positive_integer("seed", seed, "It is a seed.", zero_allowed=True)
    names = _maximizers(maximizer)
    max_iterations = positive_integer(
        "max_iterations", max_iterations, "It is the maximum number of passes over the data."
    )
    if max_iterations < 2 * starts * len(names):
        raise ValueError(
            f"`max_iterations` must be at least {2 * starts * len(names)}: two passes for each of "
            f"{starts} starts of {len(names)} maximizers. Received: "
            f"max_iterations={max_iterations}. Allow more passes or fewer starts."
        )
    if subspace is not None:
        subspace = positive_integer("subspace", subspace, "It is a dimension, 100 in the paper.")
    loss = DatasetLoss(model, Batches(x, y, sample_weight, batch_size), mode)
    evaluate, bounds = _problem(loss, epsilon, subspace, adaptive, seed)
    with Progress(max_iterations + 1, verbose, "pass") as progress:
        at_weights, _ = evaluate(np.zeros(len(bounds)))
        if at_weights <= -1:
            raise ValueError(
                "The loss must be above -1, since the measure divides by 1 + loss. Received: "
                f"{at_weights} at the model's weights. Add a constant to the loss that makes it "
                "positive."
            )
        progress.update(1)
        maximum = maximize_in_box(
            evaluate,
            bounds,
            at_weights,
            maximizers=names,
            starts=starts,
            max_evaluations=max_iterations,
            seed=seed,
            on_evaluation=lambda passes: progress.update(passes + 1),
        )
    max_loss = max(maximum.value, at_weights)
    return Sharpness(
        value=100 * (max_loss - at_weights) / (1 + at_weights),
        loss=at_weights,
        max_loss=max_loss,
        maximizer=maximum.maximizer,
        converged=maximum.converged,
        passes=maximum.evaluations + 1,
        found=maximum.found,
    )


def _maximizers(maximizer: Maximizer | Literal["both"]) -> list[Maximizer]:
    one_of("maximizer", maximizer, ("both", *MAXIMIZERS))
    names = list(MAXIMIZERS) if maximizer == "both" else [maximizer]
    if "l-bfgs-b" in names and importlib.util.find_spec("scipy") is None:
        raise ImportError(
            f"maximizer={maximizer!r} needs SciPy. Install it: pip install scipy. Or pass "
            'maximizer="ascent", and compare with values found in the same way.'
        )
    return names


def _problem(
    loss: DatasetLoss, epsilon: float, subspace: int | None, adaptive: bool, seed: int
) -> tuple[Callable[[Array], tuple[float, Array]], Array]:
    """Returns the function to maximize, by the coordinates in the box, and half its width."""
    weights = loss.weights
    size = np.abs(weights).astype(np.float64)

    if subspace is None:

        def in_full_space(y: Array) -> tuple[float, Array]:
            value, gradient = _finite(loss.gradient(weights + y), epsilon)
            return value, gradient.astype(np.float64)

        return in_full_space, epsilon * (size if adaptive else size + 1)

    if subspace > loss.size:
        raise ValueError(
            "`subspace` must be at most the number of trainable values. Received: "
            f"subspace={subspace} for a model with {loss.size}. Pass None for the full space."
        )
    directions = RandomSubspace(loss.size, subspace, loss.dtype, seed)
    scale = size.astype(loss.dtype) if adaptive else np.ones(1, loss.dtype)

    def in_subspace(z: Array) -> tuple[float, Array]:
        value, gradient = _finite(loss.gradient(weights + scale * directions.expand(z)), epsilon)
        return value, directions.project(scale * gradient)

    if adaptive:
        return in_subspace, np.full(subspace, epsilon)
    return in_subspace, epsilon * (np.abs(directions.coordinates(weights)) + 1)


def _finite(found: tuple[float, Any], epsilon: float) -> tuple[float, Any]:
    value, gradient = found
    if not (np.isfinite(value) and np.isfinite(gradient).all()):
        raise ValueError(
            f"The loss or its gradient is not finite in the box of epsilon={epsilon}. Received: a "
            f"loss of {value}. If `model.evaluate` gives a finite loss, use a smaller epsilon."
        )
    return value, gradient
