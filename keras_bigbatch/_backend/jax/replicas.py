"""JAX has no separate replicas: a traced program sees the whole batch of all devices."""

from collections.abc import Sequence

import jax
import keras

from keras_bigbatch._typing import Tensor


def replicas() -> int:
    """1: the batch that a layer sees is the global one."""
    return 1


def parts_of_a_batch(model: keras.Model | None) -> int:  # noqa: ARG001
    """How many devices of `keras.distribution`'s mesh share a batch."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    sizes = dict(zip(mesh.axis_names, mesh.shape, strict=True))
    return int(sizes.get(distribution.batch_dim_name, 1))


def processes() -> int:
    """Those of `keras.distribution.initialize`."""
    return int(jax.process_count())


def rank_and_count() -> tuple[int, int]:
    """This replica's index and the number of replicas: one that draws for the global batch."""
    return 0, 1


def gather_rows(row: Tensor) -> Tensor:
    """The row of the only replica: [n] to [1, n]."""
    return row[None]


def shared_out(batch: Tensor) -> Tensor:
    """Shares the batch out as `fit` does, or leaves it whole where the devices do not divide it."""
    distribution = keras.distribution.distribution()
    if distribution is None or batch.shape[0] % parts_of_a_batch(None):
        return batch
    layout = distribution.get_data_layout(batch.shape)
    return keras.distribution.distribute_tensor(batch, layout)


def average_variables(variables: Sequence[keras.Variable]) -> None:
    """Nothing to do: an array has one value on all devices and processes."""


def on_all_devices(tensor: Tensor) -> Tensor:
    """Asks for a small tensor whole on every device.

    Left to itself, XLA spreads it like the batch that it came from, and gathers what it is made of.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return tensor
    axes = [None] * len(tensor.shape)
    layout = keras.distribution.TensorLayout(axes, distribution.device_mesh)
    return keras.distribution.distribute_tensor(tensor, layout)
