"""What a table's row costs at full size, in floating-point operations: before it is started."""

import math

import keras

from reproduction.recipes.rows import ARMS

BACKWARD = 2  # times the forward pass: one gradient to the input, one to the weights
ASSUMED_RATE = 10e12  # operations a second, which a GPU of today sustains on larger networks


def multiply_adds(model):
    """Multiply-adds of one sample's forward pass, of convolutions and dense layers."""
    kernels = (layer for layer in model.layers if hasattr(layer, "kernel"))
    return sum(
        math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape) for layer in kernels
    )


def estimate(row):
    """A paragraph: operations a sample, samples, and hours at a rate that is an assumption.

    Args:
        row: Of `rows.py`.
    """
    model = row.network(row.shape, row.classes, keras.layers.BatchNormalization)
    a_sample = 2 * (1 + BACKWARD) * multiply_adds(model)
    samples = sum(row.plan(arm).samples for arm in ARMS)
    hours = a_sample * samples / ASSUMED_RATE / 3600
    return (
        f"{row.name}: {a_sample / 1e9:.3g} GFLOP a sample, forward and backward. The five arms of "
        f"a seed process {samples / 1e6:,.0f} million samples: {a_sample * samples / 1e15:,.0f} "
        f"PFLOP, which are {hours:.2g} hours at {ASSUMED_RATE / 1e12:.0f} TFLOP/s. The rate is an "
        "assumption, not measured; small networks reach less."
    )
