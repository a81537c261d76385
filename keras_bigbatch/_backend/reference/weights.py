"""What every backend's `WeightMeter` has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_bigbatch._typing import Tensor


class WeightMeter(ABC):
    """How far a model's variables are from a reference, and after how many updates.

    Args:
        model: The compiled model.
        variables: Those of its variables to measure.
    """

    def __init__(self, model: Any, variables: Sequence[Any]) -> None:
        self.model = model
        self.variables = variables

    @property
    def steps_an_update(self) -> int:
        """The optimizer's `gradient_accumulation_steps`, or 1."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        return getattr(optimizer, "gradient_accumulation_steps", None) or 1

    def updates(self) -> int:
        """Updates made, which under accumulation or skipped steps are fewer than steps."""
        # The sum is a tensor; `int` refuses TensorFlow's variables that have replicas.
        return int(self.model.optimizer.iterations + 0)

    @abstractmethod
    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """The sum of squared differences of each variable."""
