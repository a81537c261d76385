"""A schedule at another pace, whose warm-up keeps its number of updates."""

from fractions import Fraction
from typing import Any

import keras

from keras_bigbatch._rates.learning_rates import LearningRate


def with_warmup_held(learning_rate: Any, pace: Fraction) -> LearningRate:
    """Returns the `CosineDecay` with the same warm-up updates and `pace` times the updates in all.

    Args:
        learning_rate: A schedule whose warm-up can be told from the rest.
        pace: Updates of the new training per update of the old one.

    Raises:
        ValueError: If it is not a `CosineDecay` with a warm-up, or the warm-up is all of it.
    """
    cosine = isinstance(learning_rate, keras.optimizers.schedules.CosineDecay)
    if not cosine or not learning_rate.warmup_steps:
        raise ValueError(
            "`schedule_warmup='updates'` needs a schedule whose warm-up can be told from the rest: "
            f"a `CosineDecay` with `warmup_steps`. Received: {learning_rate!r}. Leave it out, or "
            "set the warm-up with `warmup_epochs`."
        )
    config = learning_rate.get_config()
    length = config["warmup_steps"] + config["decay_steps"]
    decay_steps = round(length * pace) - config["warmup_steps"]
    if decay_steps < 1:
        raise ValueError(
            "The warm-up must be shorter than the training. Received: schedule_warmup='updates' "
            f"with warmup_steps={config['warmup_steps']}, of {round(length * pace)} updates in "
            "all. Leave it out, or train longer with a larger `stretch`."
        )
    return type(learning_rate)(**{**config, "decay_steps": decay_steps})
