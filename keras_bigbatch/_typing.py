"""Types shared by the signatures of the package."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# A tensor of whichever backend runs (or a NumPy array): the three backends share no type.
Tensor: TypeAlias = Any

# All values of a model's trainable variables, one after the other, on the host.
Vector: TypeAlias = npt.NDArray[np.floating[Any]]
