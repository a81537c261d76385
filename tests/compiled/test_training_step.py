"""Torch's compiler on the step of sharpness-aware models, which takes it minutes."""

import keras
import pytest

from tests.training.sharpness import assert_close, network, step, trainable

if keras.backend.backend() != "torch":
    pytest.skip("torch's own compiler", allow_module_level=True)


@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("virtual_batch", [None, 5])
def test_torch_compiles_the_step(virtual_batch):
    options = {"radius": 0.3, "virtual_batch": virtual_batch}
    plain, compiled = network(**options), network(**options)
    wanted, history = step(plain)
    found, of_compiled = step(compiled, compiled={"jit_compile": True})
    assert_close(found, wanted)
    assert of_compiled["loss"] == pytest.approx(history["loss"])
    assert_close(trainable(compiled), trainable(plain))
