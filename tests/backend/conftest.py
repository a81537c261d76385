"""The ways in which torch's own ghost batch norm goes about its work."""

import pytest

from tests.backend.ghost_norm_cases import BACKEND, make_tiles_small


@pytest.fixture(params=["one tile", "many tiles"] if BACKEND == "torch" else [""])
def tiles(request, monkeypatch):
    if request.param == "many tiles":
        make_tiles_small(monkeypatch, 100)  # A sample or two of the pictures, two groups of rank 2.
    elif BACKEND == "torch":  # and half precision by torch's own kernel
        monkeypatch.setattr("keras_bigbatch._backend.torch.ghost_norm.kernel._LEAST", 1)
