"""The log spacing, at any update."""

from hypothesis import given
from hypothesis import strategies as st

from keras_bigbatch.callbacks._measurement_updates import NEVER, next_measurement


@given(st.integers(0, 10**9))
def test_log_points(updates):
    following = next_measurement("log", updates)
    assert following > updates
    # About 20 a decade: a factor 10 ** (1 / 20) apart, rounded, and every update up to 10.
    assert following <= max(updates + 1, 10 ** (1 / 20) * (updates + 0.5) + 0.5)
    # The points do not depend on where one asks from.
    assert next_measurement("log", following - 1) == following
    assert any(round(10 ** (i / 20)) == following for i in range(200))


@given(st.integers(1, 1000), st.integers(0, 10**6))
def test_integer_points(frequency, updates):
    following = next_measurement(frequency, updates)
    assert following % frequency == 0
    assert updates < following <= updates + frequency
    assert next_measurement("epoch", updates) == NEVER
