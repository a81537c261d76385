"""What every backend's `WeightMeter` shares."""

from collections.abc import Sequence

import keras

from keras_bigbatch._updates import steps_an_update, updates_made


class WeightMeter:
    """Counts updates; each backend measures its own way."""

    def __init__(self, model: keras.Model, variables: Sequence[keras.Variable]) -> None:
        self.model = model
        self.variables = variables

    @property
    def steps_an_update(self) -> int:
        return steps_an_update(self.model.optimizer)

    def updates(self) -> int:
        return updates_made(self.model.optimizer)
