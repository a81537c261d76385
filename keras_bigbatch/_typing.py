"""Types shared by the signatures of the package."""

from typing import Any, TypeAlias

# A tensor of whichever backend runs (or a NumPy array): the three backends share no type.
Tensor: TypeAlias = Any
