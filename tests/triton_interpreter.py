"""A plugin of pytest for torch: as on a GPU, whose kernels Triton's interpreter runs on a CPU.

`pytest -p tests.triton_interpreter tests/layers` runs the layer's own tests so.
"""

import os

import numpy as np
import pytest

os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    from triton.runtime import interpreter

    from keras_bigbatch._backend.torch import ghost_norm
    from keras_bigbatch._backend.torch.ghost_norm import gpu

    monkeypatch.setattr(ghost_norm, "gpu_form", lambda device: gpu)
    monkeypatch.setattr(interpreter, "_convert_float", converted(interpreter._convert_float))
    with np.errstate(all="ignore"):  # of elements beyond an end too, which are not stored
        yield


def converted(convert):
    """To bfloat16 by torch, which rounds as a GPU does: the interpreter cuts digits off."""
    import torch
    import triton.language as tl

    def run(values, given, wanted, rounding):
        if (given, wanted) != (tl.float32, tl.bfloat16):
            return convert(values, given, wanted, rounding)
        rounded = torch.from_numpy(np.ascontiguousarray(values)).to(torch.bfloat16)
        return rounded.view(torch.int16).numpy().view(np.uint16)

    return run
