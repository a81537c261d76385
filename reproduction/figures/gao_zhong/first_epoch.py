"""A first epoch of plain SGD, with every update measured: for Figures 4 and 7 of Gao & Zhong.

Plain SGD, without the momentum and the clipping of the demo's recipe, since the paper's equations
are about a step that is the rate times the gradient. The rate is the regime's first, for every
batch: the paper does not say what its own lr(n) was, and divides by it.
"""

import time

import keras
import numpy as np

from reproduction.figures.gao_zhong.trainings import batches_of, compiled, first_rate
from reproduction.runs import Case, six_digits


def cases(setting):
    """One first epoch for each batch."""
    return [_case(setting, batch) for batch in batches_of(setting)]


def _case(setting, batch):
    recipe = {
        "network": setting.network.__name__,
        "batch": batch,
        "epochs": 1,
        "rate": first_rate(setting),
        "optimizer": "plain SGD",
    }
    return Case(str(batch), recipe, 1, lambda seed, _: measure(setting, batch, seed))


def measure(setting, batch, seed):
    """The strides of one epoch, each the mean over its updates and divided by the rate.

    Returns:
        `parameter_stride`: the mean of `abs(dw)` over all weights. `own_loss_stride`: how much
        the loss of the batch that an update was made with falls by it. `whole_loss_stride`: how
        much the loss of the whole training set falls. Losses are those of training, with the
        statistics of the batch; of the whole set as one batch for the last.
    """
    start = time.perf_counter()
    data, rate = setting.data, first_rate(setting)
    model = compiled(setting, seed, keras.optimizers.SGD(rate))
    order = np.random.default_rng(seed).permutation(data.examples)
    everything = (data.x_train, data.y_train)
    first = _loss(model, *everything)
    parameter, own = [], []
    for begin in range(0, data.examples, batch):
        rows = order[begin : begin + batch]
        x, y = data.x_train[rows], data.y_train[rows]
        weights, loss = _weights(model), _loss(model, x, y)
        model.train_on_batch(x, y)
        parameter.append(np.abs(_weights(model) - weights).mean() / rate)
        own.append((loss - _loss(model, x, y)) / rate)
    fallen = first - _loss(model, *everything)
    return {
        "updates": len(own),
        "parameter_stride": six_digits(np.mean(parameter)),
        "own_loss_stride": six_digits(np.mean(own)),
        "whole_loss_stride": six_digits(fallen / rate / len(own)),
        "seconds": time.perf_counter() - start,
    }


def _weights(model):
    values = [keras.ops.convert_to_numpy(v).ravel() for v in model.trainable_variables]
    return np.concatenate(values)


def _loss(model, x, y):
    """As training sees it. The pass moves batch norm's statistics, which no training reads."""
    predictions = model(x, training=True)
    loss = model.compute_loss(x, y, predictions, training=True)
    return float(keras.ops.convert_to_numpy(loss))
