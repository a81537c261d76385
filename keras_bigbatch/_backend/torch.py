"""PyTorch: what `keras.ops` has no (fast enough) word for."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from keras_bigbatch._backend import weight_meter
from keras_bigbatch._backend.torch_ghost_norm import ghost_normalize as ghost_normalize
from keras_bigbatch._backend.torch_replicas import average_variables as average_variables
from keras_bigbatch._backend.torch_replicas import gather_rows as gather_rows
from keras_bigbatch._backend.torch_replicas import on_all_devices as on_all_devices
from keras_bigbatch._backend.torch_replicas import place as place
from keras_bigbatch._backend.torch_replicas import replicas as replicas
from keras_bigbatch._typing import Tensor


def snapshot(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copies on the same devices, which do not follow the parameters."""
    return [tensor.detach().clone() for tensor in tensors]


def restored(arrays: Sequence[npt.NDArray[np.generic]], like: Sequence[Tensor]) -> list[Tensor]:
    """The arrays as tensors with the types and places of `like`."""
    return [
        torch.as_tensor(array).to(device=tensor.device, dtype=tensor.dtype)
        for array, tensor in zip(arrays, like, strict=True)
    ]


class WeightMeter(weight_meter.WeightMeter):
    """Measures one variable at a time, so that only one difference is in memory."""

    @torch.no_grad()
    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """As on every backend, in one copy to the host.

        Not `torch._foreach_norm`: on the CPU it loses up to 1e-4 of the norm of a large float32
        tensor, and it is no faster there.
        """
        sums = []
        for variable, reference in zip(self.variables, references, strict=True):
            wide = torch.promote_types(reference.dtype, torch.float32)
            difference = variable.value.to(wide) - reference.to(wide)
            sums.append(torch.sum(difference.square_()))
        return np.asarray(torch.stack(sums).cpu().numpy(), np.float64)
