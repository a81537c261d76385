"""Learning rates and training regimes, carried over from a small batch to a large one."""

from keras_bigbatch.schedules.learning_rate_scaler import LearningRateScaler
from keras_bigbatch.schedules.plan import Plan
from keras_bigbatch.schedules.regime import Regime
from keras_bigbatch.schedules.regime_stretch import RegimeStretch
from keras_bigbatch.schedules.scale_learning_rate import scale_learning_rate

__all__ = ["LearningRateScaler", "Plan", "Regime", "RegimeStretch", "scale_learning_rate"]
