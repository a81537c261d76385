"""KerasHub's tasks with another training step: trained, saved, read, and as presets."""

import keras
import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is installed by `make test-hub`")

from keras_bigbatch.training import sharpness_aware  # noqa: E402
from tests.hub.networks import mobilenet_classifier  # noqa: E402


def task():
    keras.utils.set_random_seed(1)
    return mobilenet_classifier()


# KerasHub's tasks have a `compile` of their own.
@pytest.mark.filterwarnings("ignore:`compile\\(\\)` was not called:UserWarning")
def test_a_task_trains_sharpness_aware_and_its_preset_is_plain(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(4, 32, 32, 3)).astype("float32"), rng.integers(0, 3, 4)
    plain = task()
    weights = []
    for options in ({"radius": 0}, {"radius": 1e-12}, {"radius": 0.5}):
        model = sharpness_aware(task(), **options)
        assert isinstance(model, type(plain))
        model.compile(keras.optimizers.SGD(0.01))
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(weights[1], weights[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
    assert max(np.abs(a - b).max() for a, b in zip(weights[2], weights[0], strict=True)) > 1e-4
    model.save(tmp_path / "task.keras")
    assert type(keras.saving.load_model(tmp_path / "task.keras")) is type(model)
    model.save_to_preset(str(tmp_path))
    preset = type(plain).from_preset(str(tmp_path))
    assert type(preset) is type(plain)
    for one, other in zip(preset.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
