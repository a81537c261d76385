"""Types shared by the signatures of the package."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

# What norm layers and random layers do in a measurement: as in `evaluate`, or as in `fit`.
Mode: TypeAlias = Literal["inference", "training"]

# The same where weights are mixed; "estimated" stands for statistics estimated at the mixture.
MixtureMode: TypeAlias = Literal["inference", "estimated", "training"]

# At which optimizer updates a callback measures; a number n means every n updates.
Frequency: TypeAlias = Literal["log", "epoch"] | int

# How much `fit` and a measurement show of their progress.
Verbose: TypeAlias = Literal["auto", 0, 1, 2]

# A tensor of whichever backend runs (or a NumPy array): the three backends share no type.
Tensor: TypeAlias = Any

# Numbers on the host, in the precision in which results are computed.
Array: TypeAlias = npt.NDArray[np.float64]

# As `model.get_weights()` returns them.
Weights: TypeAlias = Sequence[npt.NDArray[Any]]

# All values of a model's trainable variables, one after the other, on the host.
Vector: TypeAlias = npt.NDArray[np.floating[Any]]
