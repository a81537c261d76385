"""The progress that measurements show: where, and that its line ends with them."""

import contextlib
import inspect
import io
import sys

import keras
import pytest

from keras_bigbatch import diagnostics
from keras_bigbatch._measuring.progress import Progress
from tests.diagnostics.models import X, Y, dense


class Terminal(io.StringIO):
    def isatty(self):
        return True


def watched():
    """A context whose output goes to a terminal."""
    return contextlib.redirect_stdout(Terminal())


def shown(stream):
    return stream.getvalue().replace("\b", "").rpartition("\r")[2]


@pytest.mark.parametrize("made", [3, 10])
def test_line_ends_where_the_search_does(made):
    with watched() as terminal, Progress(10, "auto", "pass") as progress:
        for _ in range(made):
            progress.add()
    assert f"{made}/10" in shown(terminal).replace(" ", "")
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().count("\n") == 1


def test_line_ends_before_an_error_is_shown():
    def search():
        with Progress(10, 1, "pass") as progress:
            progress.update(4)
            raise ValueError("in the middle")

    with watched() as terminal, pytest.raises(ValueError, match="in the middle"):
        search()
    assert terminal.getvalue().endswith("\n")


def test_shows_the_time_that_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    with watched() as terminal, Progress(200, 1, "pass") as progress:
        for made in (1, 2, 3):
            now[0] += 2.0
            progress.update(made)
        assert "6:34" in shown(terminal), "197 passes of 2 s"


@pytest.mark.parametrize("verbose", ["auto", 0])
def test_a_log_stays_clean(verbose, capsys):
    with Progress(2, verbose, "pass") as progress:
        progress.update(1)
    assert capsys.readouterr().out == ""


def test_one_line_in_a_log_on_request(capsys):
    with Progress(4, 2, "pass") as progress:
        progress.update(1)
        progress.update(2)
    assert capsys.readouterr().out.startswith("2/4 - ")


def test_nobody_looks_on_where_keras_was_told_so():
    keras.config.disable_interactive_logging()
    try:
        with watched() as terminal, Progress(2, "auto", "pass") as progress:
            progress.update(1)
    finally:
        keras.config.enable_interactive_logging()
    assert terminal.getvalue() == ""


def test_shown_in_a_notebook(monkeypatch):
    class OutStream(io.StringIO):
        """Jupyter's output is no terminal."""

    OutStream.__module__ = "ipykernel.iostream"
    stream = OutStream()
    monkeypatch.setattr(sys, "stdout", stream)
    with Progress(2, "auto", "pass") as progress:
        progress.update(1)
    assert "1/2" in stream.getvalue()


def test_without_a_console(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with Progress(2, "auto", "pass") as progress:
        progress.update(1)


@pytest.mark.parametrize("verbose", [3, "yes", None, 0.5])
def test_bad_verbose(verbose):
    with pytest.raises(ValueError, match="`verbose` must be 'auto', 0, 1 or 2"):
        Progress(2, verbose, "pass")


def test_searches_that_end_early():
    with watched() as terminal:
        found = diagnostics.hessian_eigenvalues(dense(2), X, Y)
    assert found.passes < 100
    assert f"{found.passes}/100" in shown(terminal).replace(" ", "")
    assert terminal.getvalue().endswith("\n")
    with watched() as terminal:
        found = diagnostics.sharpness(
            dense(2), X, Y, maximizer="ascent", starts=1, max_iterations=90
        )
    assert found.passes < 91
    assert f"{found.passes}/91" in shown(terminal).replace(" ", "")
    assert terminal.getvalue().endswith("\n")


def test_each_long_measurement_shows_it_by_default():
    functions = [
        function
        for name in diagnostics.__all__
        if inspect.isfunction(function := getattr(diagnostics, name))
        and "model" in inspect.signature(function).parameters
    ]
    assert len(functions) == 7
    for function in functions:
        assert inspect.signature(function).parameters["verbose"].default == "auto", function
