"""A plugin of pytest for JAX: as on a TPU, whose kernels Pallas's interpreter runs.

`pytest -p tests.tpu_interpreter tests/layers` runs the layer's own tests so.
"""

import pytest


def as_on_tpu(monkeypatch):
    """Until the end of a test: the TPU v5e, on which a program's kernels are run."""
    from keras_bigbatch._backend.jax.ghost_norm import dense, derivatives

    dense._program.cache_clear()
    monkeypatch.setattr(dense, "fast_memory", lambda: 2**27)
    monkeypatch.setattr(derivatives, "platform_dependent", lambda *values, tpu, **_: tpu(*values))


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    from jax.experimental.pallas import tpu as pltpu

    as_on_tpu(monkeypatch)
    with pltpu.force_tpu_interpret_mode():
        yield
