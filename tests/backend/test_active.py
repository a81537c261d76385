"""The one dispatcher. That its calls are typed is checked in `typed_calls.py`, by mypy."""

import keras
import pytest

from keras_bigbatch import _backend


def test_it_is_the_package_of_the_running_backend():
    assert _backend.active().__name__ == f"keras_bigbatch._backend.{keras.backend.backend()}"


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(RuntimeError, match=r"jax, tensorflow and torch. Received: 'openvino'"):
        _backend.active()
