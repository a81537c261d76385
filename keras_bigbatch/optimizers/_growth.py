"""The warning of layer-wise optimizers whose weights will grow until the training breaks down."""

import keras
from keras import ops

from keras_bigbatch._rates.learning_rates import OptimizerLearningRate
from keras_bigbatch._user_warnings import is_restored, warn_user

# Without decay, weights that grow by a factor of e in fewer updates break a training down.
_FAST_GROWTH = 1000
# Where to look for a schedule's highest rate: after warm-ups of any length, before the decay.
_LOOKS = (0, 10, 100, 1000, 10_000)


def warn_of_growth(
    optimizer: keras.optimizers.Optimizer, learning_rate: OptimizerLearningRate
) -> None:
    """Warns if the weights grow fast at this rate without decay."""
    relative = _highest(learning_rate) * optimizer.trust_coefficient
    if relative <= 0:
        return
    updates = 2 * ((1 - optimizer.momentum) / relative) ** 2
    if updates < _FAST_GROWTH and not is_restored():
        warn_user(
            f"{type(optimizer).__name__} without weight decay makes weights grow. At learning_rate "
            f"* trust_coefficient = {relative:.3g} and momentum {optimizer.momentum:.3g} this can "
            f"be a factor of e in about {updates:.0f} updates, and long trainings collapse. Pass "
            "`weight_decay` (0.0001 is enough) or a smaller rate.",
            about=optimizer,
        )


def _highest(learning_rate: OptimizerLearningRate) -> float:
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return max(float(learning_rate(ops.convert_to_tensor(update))) for update in _LOOKS)
    return learning_rate if isinstance(learning_rate, float) else 0.0
