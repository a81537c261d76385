"""Large-batch training for Keras 3 without the generalization gap.

The namespaces mirror Keras's own: `layers`, `schedules`, `callbacks`, `diagnostics`,
`distribution`, `optimizers`, `training`.
"""

from keras_bigbatch import (
    callbacks,
    diagnostics,
    distribution,
    layers,
    optimizers,
    schedules,
    training,
)
from keras_bigbatch.callbacks import WeightDistance
from keras_bigbatch.layers import GhostBatchNormalization
from keras_bigbatch.schedules import LearningRateScaler, Regime, RegimeStretch

__version__ = "0.1.0"

__all__ = [
    "GhostBatchNormalization",
    "LearningRateScaler",
    "Regime",
    "RegimeStretch",
    "WeightDistance",
    "callbacks",
    "diagnostics",
    "distribution",
    "layers",
    "optimizers",
    "schedules",
    "training",
]
