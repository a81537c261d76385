"""What every backend's `WeightMeter` has."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_bigbatch._typing import Tensor
from keras_bigbatch._updates import steps_an_update, updates_made


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
        return steps_an_update(self.model.optimizer)

    def updates(self) -> int:
        """Updates made, which under accumulation or skipped steps are fewer than steps."""
        return updates_made(self.model.optimizer)

    @abstractmethod
    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """The sum of squared differences of each variable."""
