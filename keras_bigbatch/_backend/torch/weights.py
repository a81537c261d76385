"""A model's weights on PyTorch: copies of them, and their distance from a reference."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from keras_bigbatch._backend.reference import weights
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


class WeightMeter(weights.WeightMeter):
    """Measures one variable at a time, so that only one difference is in memory."""

    @torch.no_grad()
    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """One variable after the other.

        Not `torch._foreach_norm`: on the CPU it loses up to 1e-4 of the norm of a large float32
        tensor, and it is no faster there.
        """
        sums = []
        for variable, reference in zip(self.variables, references, strict=True):
            wide = torch.promote_types(reference.dtype, torch.float32)
            difference = variable.value.to(wide) - reference.to(wide)
            sums.append(torch.sum(difference.square_()))
        return np.asarray(torch.stack(sums).cpu().numpy(), np.float64)
