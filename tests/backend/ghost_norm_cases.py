"""Inputs of ghost batch norm, and tiles small enough for them."""

import keras
import numpy as np
from keras import ops

BACKEND = keras.backend.backend()


def make_tiles_small(monkeypatch, elements=300):
    module = "torch.ghost_norm.tiles" if BACKEND == "torch" else f"{BACKEND}.ghost_norm.groups"
    monkeypatch.setattr(f"keras_bigbatch._backend.{module}._TILE", elements)
    if BACKEND == "tensorflow":
        from keras_bigbatch._backend.tensorflow.ghost_norm import traces

        # What was traced has the size that was.
        monkeypatch.setattr(traces, "traced", traces.traced.__wrapped__)


def data(batch, shape, dtype="float32"):
    rng = np.random.default_rng(batch)
    x = rng.normal(size=(batch, *shape)) * 2 + 1
    return ops.cast(x, dtype), rng.normal(size=x.shape).astype("float32")
