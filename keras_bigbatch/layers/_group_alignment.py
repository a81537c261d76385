"""Whether ghost batches fit the devices that a batch is spread over."""

import functools

import keras

from keras_bigbatch._backend import active
from keras_bigbatch._user_warnings import warn_user


def check_alignment(batch: int | None, virtual_batch: int) -> None:
    """Warns once if `keras.distribution` splits ghost batches, and names sizes that would fit.

    Args:
        batch: Samples in the batch of all devices; None if unknown.
        virtual_batch: Samples in a ghost batch.
    """
    # On the other backends a layer sees only its own replica's part of the batch.
    if batch is None or keras.backend.backend() != "jax":
        return
    replicas = active().replicas.parts_of_a_batch(None)
    # JAX itself refuses a batch that the number of replicas does not divide.
    if replicas > 1 and batch % replicas == 0 and not _fits(batch, replicas, virtual_batch):
        _warn(batch, replicas, virtual_batch)


def _fits(batch: int, replicas: int, virtual_batch: int) -> bool:
    """Returns whether groups line up with the devices' parts, so that no activations move."""
    part = batch // replicas
    if part % virtual_batch == 0 or batch < 2 * virtual_batch:
        return True  # Complete groups on each device, or one group: plain batch norm.
    # Groups of complete parts cost a few small sums; a remainder would have to move.
    return virtual_batch % part == 0 and batch % virtual_batch == 0


@functools.cache
def _warn(batch: int, replicas: int, virtual_batch: int) -> None:
    part = batch // replicas
    fitting = [size for size in range(1, part + 1) if part % size == 0]
    below = max((size for size in fitting if size <= virtual_batch), default=1)
    above = min((size for size in fitting if size >= virtual_batch), default=None)
    nearest = f"{below} or {above}" if above is not None else f"{below}"
    parts = -(-part // virtual_batch) * virtual_batch * replicas
    warn_user(
        f"Ghost batches of {virtual_batch} samples do not fit a batch of {batch} on {replicas} "
        f"devices: each holds {part} samples, which {virtual_batch} does not divide, so devices "
        "must send activations to each other in each training step. The result is right, but slow. "
        f"Use a `virtual_batch` that divides {part} (nearest: {nearest}), or a batch of {parts}."
    )
