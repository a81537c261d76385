"""What `reproduction` may import: public names of keras_bigbatch, and Keras after the backend."""

import ast

import pytest

from reproduction.runs import HERE

FILES = sorted(HERE.rglob("*.py"))


def imported(path):
    """The full names that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(HERE).as_posix())
def test_only_public_names_of_the_package(path):
    own = [name for name in imported(path) if name.partition(".")[0] == "keras_bigbatch"]
    assert not [name for name in own if any(part[0] == "_" for part in name.split("."))]


def test_the_backend_is_chosen_by_the_command_alone():
    for path in FILES:
        sets = 'os.environ["KERAS_BACKEND"] = ' in path.read_text()
        assert sets == (path.name == "__main__.py"), path
    before = {name.partition(".")[0] for name in imported(HERE / "__main__.py")}
    before |= {name.partition(".")[0] for name in imported(HERE / "__init__.py")}
    assert not before & {"keras", "keras_bigbatch", "reproduction"}
