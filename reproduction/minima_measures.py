"""What is measured at the end of a training, and between two of them."""

import math
import time
import warnings
from dataclasses import asdict, dataclass

import keras
import numpy as np

from keras_bigbatch import diagnostics
from reproduction.networks.small import network

EPSILON, SMALLER_EPSILON = 1e-3, 5e-4  # the paper's boxes
ADAPTIVE_EPSILON = 1e-2  # of a box that is relative to each weight
# How batch norm has its statistics between two minima, and the mode of `linear_path` for it.
STATISTICS = {"interpolated": "inference", "estimated": "estimated"}
BATCH = 1000  # samples; in the mode "training" also those that batch norm takes its statistics of


@dataclass(frozen=True)
class Effort:
    """How much a measurement may cost.

    Args:
        passes: Over the data, for each search of a sharpness.
        starts: That must agree before a search ends sooner.
        subspace: Dimension of the random subspace.
        draws: Of the trace.
        noise_batch: Samples of a large batch of the noise scale, of ten small ones.
        noise_draws: Of such batches.
        points: On the linear path.
    """

    passes: int = 64
    starts: int = 2
    subspace: int = 100
    draws: int = 20
    noise_batch: int = 4000
    noise_draws: int = 10
    points: int = 41

    def settings(self):
        """In plain types: they are kept, and compared on a second run."""
        return asdict(self)


QUICK = Effort(passes=8, starts=1, subspace=10, draws=2, noise_batch=500, noise_draws=3, points=5)


def plain_network(data):
    """The network of all arms with Keras's batch norm, so that all are measured as one function.

    Ghost batch norm has the same weights and the same inference.
    """
    model = network(data.shape, data.classes, keras.layers.BatchNormalization)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def at_minimum(model, data, effort):
    """Every measure at the weights of `model`, over all of the training set."""
    began = time.perf_counter()
    x, y = data.x_train, data.y_train
    search = {"batch_size": BATCH, "max_iterations": effort.passes, "starts": effort.starts}
    sharpness = {
        "sharpness": diagnostics.sharpness(model, x, y, EPSILON, **search),
        "sharpness_smaller_box": diagnostics.sharpness(model, x, y, SMALLER_EPSILON, **search),
        "sharpness_batch_statistics": diagnostics.sharpness(
            model, x, y, EPSILON, mode="training", **search
        ),
        "sharpness_subspace": diagnostics.sharpness(
            model, x, y, EPSILON, effort.subspace, **search
        ),
        "sharpness_adaptive": diagnostics.sharpness(
            model, x, y, ADAPTIVE_EPSILON, adaptive=True, **search
        ),
    }
    eigenvalues = diagnostics.hessian_eigenvalues(model, x, y, batch_size=BATCH)
    trace = diagnostics.hessian_trace(model, x, y, effort.draws, batch_size=BATCH)
    with warnings.catch_warnings():
        # Where it cannot be told it is NaN, and the table says so.
        warnings.filterwarnings("ignore", "The noise scale is NaN")
        noise = diagnostics.gradient_noise_scale(
            model,
            x,
            y,
            effort.noise_batch // 10,
            effort.noise_batch,
            draws=effort.noise_draws,
            mode="inference",
        )
    kernels = [v for v in model.trainable_variables if len(v.shape) > 1]
    return {
        **{name: found.value for name, found in sharpness.items()},
        "searches": len(sharpness),
        "searches_agreed": sum(found.converged for found in sharpness.values()),
        "top_eigenvalue": float(eigenvalues.values[0]),
        "trace": trace.value,
        "trace_error": trace.standard_error,
        "noise_scale": noise.value,
        "noise_scale_interval": noise.interval,
        "kernel_norm": math.sqrt(sum(float(np.sum(np.square(v.numpy()))) for v in kernels)),
        "measuring_seconds": time.perf_counter() - began,
    }


def between(first, second, data, effort):
    """The loss along the line from `first` to `second`, by how batch norm's statistics are had."""
    model = plain_network(data)
    alphas = np.linspace(-0.5, 1.5, effort.points)
    result = {"alphas": alphas.tolist()}
    for statistics, mode in STATISTICS.items():
        path = diagnostics.linear_path(
            model,
            first,
            second,
            data.x_train,
            data.y_train,
            alphas,
            batch_size=BATCH,
            mode=mode,
        )
        result[statistics] = path.loss.tolist()
    return result


def barrier(path, statistics):
    """How much the loss rises between the ends, above the higher of them."""
    inside = [
        loss
        for alpha, loss in zip(path["alphas"], path[statistics], strict=True)
        if -1e-9 <= alpha <= 1 + 1e-9
    ]
    return max(inside) - max(inside[0], inside[-1])
