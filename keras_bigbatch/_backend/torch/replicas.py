"""The ranks of torch's default process group, and those of the running DDP forward pass."""

from collections.abc import Sequence

import keras
import torch
from torch import distributed

from keras_bigbatch._backend.torch.private_api import active_data_parallel_module
from keras_bigbatch._typing import Tensor


def replicas() -> int:
    """How many ranks run this step on parts of one batch; 1 outside a forward through DDP.

    Not the size of the process group: ranks that train on their own, or of which only some run a
    forward pass, must not wait for each other here.
    """
    group = _group()
    return 1 if group is None else int(distributed.get_world_size(group))


def parts_of_a_batch(model: keras.Model | None) -> int:  # noqa: ARG001
    """The size of the process group: each rank trains on its own part."""
    return rank_and_count()[1]


def processes() -> int:
    """The ranks of the process group, which may train together without DDP's wrapper too."""
    return rank_and_count()[1]


def rank_and_count() -> tuple[int, int]:
    """This rank and the number of ranks, whose random states are the same if their seeds are."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def gather_rows(row: Tensor) -> Tensor:
    """The ranks' rows in their order: [n] to [ranks, n], the same on each of them."""
    row = row.detach().contiguous()
    rows = row.new_empty((replicas(), *row.shape))
    distributed.all_gather(list(rows.unbind()), row, group=_group())
    return rows


def on_all_devices(tensor: Tensor) -> Tensor:
    """The tensor: a replica's are its own."""
    return tensor


def shared_out(batch: Tensor) -> Tensor:
    """The batch: each replica runs its own program."""
    return batch


def average_variables(variables: Sequence[keras.Variable]) -> None:
    """Gives each variable the mean of the ranks' values, in one exchange for all of them."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    ranks = distributed.get_world_size()
    if ranks == 1 or not variables:
        return
    tensors = [variable.value.detach() for variable in variables]
    flat = torch.cat([tensor.reshape(-1).to(torch.float64) for tensor in tensors])
    distributed.all_reduce(flat)
    means = (flat / ranks).split([tensor.numel() for tensor in tensors])
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean.reshape(variable.shape))


def _group() -> object | None:
    """The process group of the DDP module whose forward runs, or None."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    if torch.compiler.is_compiling():
        return None
    module = active_data_parallel_module()
    return None if module is None else module.process_group
