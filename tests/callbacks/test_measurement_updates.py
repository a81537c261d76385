"""The log spacing, at any update."""

from hypothesis import given
from hypothesis import strategies as st

from keras_bigbatch._measuring.cadence import NEVER, next_measurement


@given(st.integers(0, 10**9))
def test_log_points(updates):
    following = next_measurement("log", updates)
    assert following > updates
    # 10 a decade: a factor 10 ** (1 / 10) apart, rounded, and every update up to 10.
    if updates < 10:
        assert following == updates + 1
        return
    assert following <= 10 ** (1 / 10) * (updates + 0.5) + 0.5
    # The points do not depend on where one asks from.
    assert next_measurement("log", following - 1) == following
    assert any(round(10 ** (i / 10)) == following for i in range(100))


@given(st.integers(1, 1000), st.integers(0, 10**6))
def test_integer_points(frequency, updates):
    following = next_measurement(frequency, updates)
    assert following % frequency == 0
    assert updates < following <= updates + frequency
    assert next_measurement("epoch", updates) == NEVER


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_log_points_are_counted_from_the_origin(origin, updates):
    following = next_measurement("log", origin + updates, origin)
    assert following == origin + next_measurement("log", updates)
    assert next_measurement(7, origin + updates, origin) == next_measurement(7, origin + updates)
