"""The numbers that `LayerStrides` records per layer, from flat vectors of all weights."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_bigbatch import _parameters
from keras_bigbatch._typing import Array, Vector


def layer_paths(variables: Sequence[Any]) -> list[str]:
    """The layer of each variable: its `path` without the last part."""
    return [variable.path.rpartition("/")[0] or variable.path for variable in variables]


class LayerParts:
    """Which parts of the flat vector of all weights belong to which layer.

    Args:
        variables: The model's trainable variables.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        self._variables = variables
        owners = layer_paths(variables)
        self.names = list(dict.fromkeys(owners))
        self._parts = [[i for i, o in enumerate(owners) if o == name] for name in self.names]

    def of(self, *vectors: Vector) -> Iterator[list[Vector]]:
        """Yields each layer's values in each of the vectors, flat."""
        split = [_parameters.split(vector, self._variables) for vector in vectors]
        for parts in self._parts:
            yield [np.concatenate([values[i].ravel() for i in parts]) for values in split]


class GradientNumbers:
    """Numbers of each layer that need the gradients of several batches at the same weights.

    Args:
        parts: The layers.
        weights: All weights.
        gradients: The gradient of each batch.

    Raises:
        ValueError: If there are no batches.
    """

    # Where the weights have diverged, the numbers show it: warnings are not needed.
    @np.errstate(over="ignore", invalid="ignore")
    def __init__(self, parts: LayerParts, weights: Vector, gradients: Iterator[Vector]) -> None:
        self.batches = 0
        absolute, squared, radii = [], [], []
        self.mean: Vector = np.zeros_like(weights)
        for gradient in gradients:
            self.mean += gradient
            self.batches += 1
            layers = list(parts.of(weights, gradient))
            absolute.append([np.abs(g).mean(dtype=np.float64) for _, g in layers])
            squared.append([np.square(g).mean(dtype=np.float64) for _, g in layers])
            radii.append([radius(w, g) for w, g in layers])
        if not self.batches:
            raise ValueError(
                "The data set of `LayerStrides` must have a whole batch or more. Received: one "
                "with fewer samples. Pass a smaller `batch_size`, or arrays."
            )
        self.mean /= self.batches
        self.gradient: Array = np.mean(absolute, axis=0)
        self.squared_gradient: Array = np.mean(squared, axis=0)
        # A median of medians, since a layer's may be infinite in one batch.
        self.radius: Array = np.median(radii, axis=0)
        of_mean = [np.square(g).mean(dtype=np.float64) for (g,) in parts.of(self.mean)]
        self.signal: Array = _signal(np.array(of_mean), self.squared_gradient, self.batches)


def radius(weights: Vector, gradient: Vector) -> float:
    """Returns the median of `abs(w / g)`: infinite where half of the weights have no gradient."""
    size = np.abs(weights)
    with np.errstate(over="ignore"):
        ratio = np.divide(
            size, np.abs(gradient), out=np.full_like(size, np.inf), where=gradient != 0
        )
    return float(np.median(ratio))


def _signal(of_mean: Array, of_batch: Array, batches: int) -> Array:
    """Returns the norm of the expected gradient over that of a batch's deviation from it."""
    if batches < 2:
        return np.full_like(of_mean, np.nan)
    # Unbiased: the squared norm of the mean contains a part of the noise.
    noise = np.maximum(of_batch - of_mean, 0) * batches / (batches - 1)
    signal = np.maximum(of_mean - noise / batches, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(signal / noise), np.float64)
