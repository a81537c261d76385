"""A model that version 0.1 saved, with JAX and an old Keras, still loads and says the same."""

from pathlib import Path

import keras
import numpy as np

import keras_bigbatch as kbb

GOLDEN = Path(__file__).parent / "golden"


def test_model_of_0_1_loads_on_this_backend():
    model = keras.saving.load_model(GOLDEN / "ghost_0_1.keras")
    with np.load(GOLDEN / "ghost_0_1.npz") as saved:
        weights = [saved[f"weight_{i}"] for i in range(len(model.get_weights()))]
        for actual, expected in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(actual, expected)
        # Not `predict`: the file says `jit_compile`, as JAX chose, and torch would take a minute.
        outputs = keras.ops.convert_to_numpy(model(saved["x"], training=False))
        np.testing.assert_allclose(outputs, saved["y"], rtol=1e-5, atol=1e-5)
        rate = float(model.optimizer.learning_rate)
        np.testing.assert_allclose(rate, saved["learning_rate"], rtol=1e-6)
    norms = [layer for layer in model.layers if isinstance(layer, kbb.GhostBatchNormalization)]
    assert [layer.statistics for layer in norms] == ["batch", "sequential"]
    assert [layer.virtual_batch for layer in norms] == [8, 8]
    assert isinstance(model.optimizer.get_config()["learning_rate"], dict)
