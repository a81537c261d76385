"""KerasTuner, and Keras's wrappers for scikit-learn, with our layers, schedules and callbacks."""

import keras
import numpy as np
import pytest

import keras_bigbatch as kbb
from keras_bigbatch.schedules import Regime

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")
