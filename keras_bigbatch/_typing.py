"""Types shared by the signatures of the package."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt

# A tensor of whichever backend runs (or a NumPy array): the three backends share no type.
Tensor: TypeAlias = Any

# All values of a model's trainable variables, one after the other, on the host.
Vector: TypeAlias = npt.NDArray[np.floating[Any]]

# What Keras takes for an optimizer's learning rate.
LearningRate: TypeAlias = (
    float | keras.optimizers.schedules.LearningRateSchedule | Callable[[], Tensor]
)
