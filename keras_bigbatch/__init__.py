"""Large-batch training for Keras 3 without the generalization gap.

The namespaces mirror Keras's own: `layers`, `schedules`, `callbacks`, `diagnostics`,
`distribution`, `optimizers`, `training`.
"""

import sys as _sys
from typing import NoReturn as _NoReturn

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


def __getattr__(name: str) -> _NoReturn:
    """Names the namespace of a name that is missing here."""
    namespaces = (callbacks, diagnostics, distribution, layers, optimizers, schedules, training)
    where = [each.__name__ for each in namespaces if name in each.__all__]
    hint = f". It is `{where[0]}.{name}`." if where else ""
    # Given the module, Python suggests a similar name.
    module = None if hint else _sys.modules[__name__]
    message = f"module {__name__!r} has no attribute {name!r}{hint}"
    raise AttributeError(message, name=name, obj=module)
