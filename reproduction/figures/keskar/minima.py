"""What the figures of Keskar et al. share: how the sharpness is measured, and what is said of it.

Sharpness is measured over the whole training set, in steps of the effort that `minima.py`
counts in. Every value is a lower bound.
"""

import statistics

import keras

from keras_bigbatch import diagnostics
from reproduction.minima_measures import BATCH, EPSILON, Effort
from reproduction.minima_report import cell
from reproduction.statistics import spread, unfitted

PAPER = "Keskar et al. (2017)"
# On MNIST-1D a quarter of the passes that `minima.py` allows finds the full space's maximum
# within a hundredth. In a subspace a large batch's is higher by some factor of two.
EFFORT = Effort(passes=16, starts=1, points=25)
QUICK_EFFORT = Effort(passes=4, starts=1, subspace=5, points=9)


def effort_of(setting):
    """How much the measurements of a setting may cost."""
    return QUICK_EFFORT if setting.quick else EFFORT


def sharpness(model, data, effort, epsilon=EPSILON, **options):
    """Keskar's sharpness in percent; `options` are those of `diagnostics.sharpness`."""
    return diagnostics.sharpness(
        model,
        data.x_train,
        data.y_train,
        epsilon,
        batch_size=BATCH,
        max_iterations=effort.passes,
        starts=effort.starts,
        **options,
    )


def in_memory(setting):
    """The setting, if its training set is arrays: what a measurement goes over many times."""
    if not hasattr(setting.data, "x_train"):
        raise ValueError(
            f"the sharpness is measured on arrays, and {setting.data.name} is a pipeline: "
            "pass --dataset mnist1d or digits, or --data-dir with idx files"
        )
    return setting


class Weights(keras.callbacks.Callback):
    """Keeps the weights at the end of some epochs, to measure there after the training.

    Args:
        epochs: Which, counted from 1; 0 for the start.
    """

    def __init__(self, epochs):
        super().__init__()
        self.epochs, self.kept = epochs, {}

    def on_train_begin(self, logs=None):  # noqa: ARG002 - Keras calls it so
        self._keep(0)

    def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
        self._keep(epoch + 1)

    def _keep(self, epoch):
        if epoch in self.epochs:
            self.kept[epoch] = self.model.get_weights()


def measured(values):
    """The seeds' mean and deviation, of whatever size, as the text of a table's cell."""
    return cell(statistics.fmean(values), spread(values) if len(values) > 1 else None)


def caveats(results):
    """What holds for every sharpness, and which arms do not fit the training set."""
    effort = results[0]["effort"]
    passes, starts = effort["passes"], effort["starts"]
    bound = (
        f"Every sharpness is a lower bound: the search makes at most {passes} passes over the "
        f"training set, from {starts} start{'s' * (starts > 1)} of each maximizer."
    )
    return " ".join(filter(None, (bound, unfitted(results))))
