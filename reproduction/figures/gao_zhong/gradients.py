"""The gradients of each layer before the first update, by `LayerStrides`."""

import collections
import re

import keras

from keras_bigbatch.callbacks import LayerStrides
from reproduction.figures.gao_zhong.trainings import compiled
from reproduction.runs import six_digits

DRAWS = 16  # batches that a mean gradient is taken of


class Whole(keras.utils.PyDataset):
    """All samples in one batch, which `LayerStrides` does not draw but takes as they are."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.data.x_train, self.data.y_train


def drawn(data, batch, draws=DRAWS, seed=0, **more):
    """A callback that measures batches of some size, drawn at random."""
    return LayerStrides(
        data.x_train, data.y_train, batch_size=batch, batches=draws, seed=seed, **more
    )


def whole(data):
    """A callback that measures the gradient of the whole training set."""
    return LayerStrides(Whole(data), batch_size=data.examples, batches=1)


def before_first_update(setting, seed, looks, wrap=None):
    """By layer, for each of the callbacks what it saw at the initial weights.

    All callbacks look at one model, which then makes a single update.

    Args:
        setting: The experiment's.
        seed: Of the initial weights.
        looks: `LayerStrides` callbacks.
        wrap: Makes of the plain model the one that is measured.
    """
    model = compiled(setting, seed, keras.optimizers.SGD(1e-3), wrap)
    x, y = (part[: setting.large_batch] for part in (setting.data.x_train, setting.data.y_train))
    model.fit(x, y, batch_size=len(x), epochs=1, callbacks=looks, verbose=0)
    layers = [look.history["layers"] for look in looks]
    return {
        name: {
            column: [six_digits(layer[path][column][0]) for layer in layers]
            for column in ("gradient", "squared_gradient")
        }
        for path, name in plain_names(layers[0]).items()
    }


def plain_names(paths):
    """For each layer's path a name that is the same in every model: its kind and its number.

    Keras numbers the layers of all models of a process: "conv1d_5" is "conv1d 3" of the second.
    """
    counts, names = collections.Counter(), {}
    for path in paths:
        kind = re.sub(r"_\d+$", "", path.rpartition("/")[2]).replace("_", " ")
        counts[kind] += 1
        names[path] = f"{kind} {counts[kind]}"
    return names


def is_normalization(name):
    """Whether a layer has gamma and beta in place of weights."""
    return "normalization" in name
