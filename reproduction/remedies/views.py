"""Augmented views of MNIST-1D's signals, and batches in which each sample has several.

Hoffer et al. (2019), arXiv 1901.09335: each sample several times in a batch, each time augmented
anew. The views of a sample are `batch / views` places apart, so that no ghost batch holds two.
"""

import math

import keras
import numpy as np

SHIFT, SCALE, NOISE = 2, 0.1, 0.05  # steps; share of the amplitude; of the data's deviation


def augmented(x, draw):
    """Each signal shifted by a few steps, scaled and with noise, so that its class stays.

    Args:
        x: Signals, [samples, steps, 1].
        draw: A NumPy generator.
    """
    samples, steps = x.shape[:2]
    shifts = draw.integers(-SHIFT, SHIFT + 1, (samples, 1))
    # The ends repeat.
    places = np.clip(np.arange(steps) - shifts, 0, steps - 1)
    shifted = np.take_along_axis(x[..., 0], places, axis=1)[..., None]
    scales = draw.uniform(1 - SCALE, 1 + SCALE, (samples, 1, 1))
    return (shifted * scales + NOISE * draw.normal(size=x.shape)).astype(x.dtype)


class Views(keras.utils.PyDataset):
    """Batches of augmented samples; an epoch has each sample `views` times.

    Args:
        x: Signals.
        y: Classes.
        batch: Places in a batch, a multiple of `views`.
        views: Of each sample in a batch.
        seed: Of the order and the augmentation.
    """

    def __init__(self, x, y, batch, views, seed):
        super().__init__()
        if batch % views:
            raise ValueError(f"a batch of {batch} has no whole samples with {views} views each")
        self.x, self.y, self.samples, self.views = x, y, batch // views, views
        self.draw = np.random.default_rng(seed)
        self.order = self.draw.permutation(len(x))

    def __len__(self):
        return math.ceil(len(self.x) / self.samples)

    def __getitem__(self, index):
        chosen = self.order[index * self.samples : (index + 1) * self.samples]
        chosen = np.tile(chosen, self.views)
        return augmented(self.x[chosen], self.draw), self.y[chosen]

    def on_epoch_end(self):
        """Another order."""
        self.order = self.draw.permutation(len(self.x))
