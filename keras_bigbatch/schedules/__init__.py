"""Learning rates and training regimes, carried over from a small batch to a large one."""

from keras_bigbatch._rates.learning_rate_scaler import LearningRateScaler
from keras_bigbatch._rates.regime_stretch import RegimeStretch
from keras_bigbatch._rates.scale_learning_rate import scale_learning_rate
from keras_bigbatch.schedules._plan import Plan
from keras_bigbatch.schedules._regime import Regime

__all__ = ["LearningRateScaler", "Plan", "Regime", "RegimeStretch", "scale_learning_rate"]
