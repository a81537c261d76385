"""Warnings for the user, and the file that they point at."""

import contextlib
import warnings


@contextlib.contextmanager
def recorded():
    """A list of the user's warnings; others, such as torch's deprecations, are left alone.

    `pytest.warns` records them all, and makes an error of those that it was not asked for.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        yield said


def assert_said_once(said, message, file):
    """One warning in all, with this text in it, which points at this file."""
    assert [message in str(each.message) for each in said] == [True], [*map(str, said)]
    assert said[0].filename == file
