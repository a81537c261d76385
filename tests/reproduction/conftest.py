"""Data that is drawn once, and in no time."""

import pytest

from reproduction.data import arrays


@pytest.fixture(scope="session")
def digits():
    """The digits, all of them and with 400 samples held out."""
    return {hold_out: arrays.load("digits", None, hold_out, 1200) for hold_out in (0, 400)}


@pytest.fixture(scope="session")
def drawn():
    """MNIST-1D, which takes seconds to draw."""
    return arrays.mnist1d()


@pytest.fixture
def few_data(monkeypatch, digits):
    """Stands for MNIST-1D."""
    monkeypatch.setattr(
        arrays, "load", lambda name, hold_out=0, examples=None: digits[400 if hold_out else 0]
    )
    return digits[0]
