"""Writes the files that `test_golden.py` loads: a model as version 0.1 saved it, and what it said.

Made once, with the oldest supported Keras on JAX, so that every test run also loads another
backend's and an older Keras's file:

    KERAS_BACKEND=jax .venv-floor/bin/python tests/golden/make.py

Do not make it anew when a test fails: the files of users cannot be made anew either.
"""

from pathlib import Path

import keras
import numpy as np

import keras_bigbatch as kbb

HERE = Path(__file__).parent

keras.utils.set_random_seed(0)
cosine = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=64)
stretched = kbb.RegimeStretch(cosine, small_batch=8, large_batch=32, stretch=2)
rate = kbb.LearningRateScaler(stretched, small_batch=8, large_batch=32, warmup_updates=3)
model = keras.Sequential(
    [
        keras.Input((6, 6, 1)),
        keras.layers.Conv2D(4, 3, use_bias=False),
        kbb.GhostBatchNormalization(virtual_batch=8, momentum=0.9, statistics="batch"),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(3),
        kbb.GhostBatchNormalization(virtual_batch=8, momentum=0.9),
    ]
)
model.compile(keras.optimizers.SGD(rate, momentum=0.9), "mse")
x = np.random.default_rng(0).normal(size=(64, 6, 6, 1)).astype("float32")
model.fit(x, x[:, 0, :3, 0], batch_size=32, epochs=3, verbose=0)
model.save(HERE / "ghost_0_1.keras")
np.savez(
    HERE / "ghost_0_1.npz",
    x=x[:8],
    y=model.predict(x[:8], verbose=0),
    learning_rate=float(model.optimizer.learning_rate),
    **{f"weight_{i}": value for i, value in enumerate(model.get_weights())},
)
