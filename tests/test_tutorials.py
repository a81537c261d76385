"""The tutorials: each runs on this backend, and what the site shows was made from it."""

import hashlib
import json
import re

import keras
import pytest

from scripts.quick import MARK, shortened, unmarked
from tests.test_public_api import ROOT

TUTORIALS = ROOT / "docs" / "tutorials"
SCRIPTS = sorted(TUTORIALS.glob("*.py"))


@pytest.fixture
def nothing_compiled():
    """On TensorFlow, where compiling takes nearly all of the time: operations one at a time.

    And one update an epoch. JAX and torch make each page whole, JAX by compiled programs; the
    package's own tests compile its parts on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    keras.config.set_max_steps_per_epoch(1)
    yield
    keras.config.set_max_steps_per_epoch(None)
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def mnist1d():
    """A quarter of the data of most pages, which takes a second to draw."""
    from mnist1d import data

    drawn = data.make_dataset(data.get_dataset_args())
    return {**drawn, "x": drawn["x"][:1000], "y": drawn["y"][:1000]}


@pytest.mark.filterwarnings("ignore:Limiting steps_per_epoch to 1:UserWarning")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.*run_functions_eagerly`:UserWarning")
# One seed has no deviation.
@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy._core._methods")
# KerasHub gives each loaded task an optimizer of its own.
@pytest.mark.filterwarnings("ignore:Skipping variable loading for optimizer:UserWarning")
@pytest.mark.usefixtures("nothing_compiled")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_runs_in_seconds(path, tmp_path, monkeypatch, mnist1d):
    if path.stem == "pretrained-network":
        pytest.importorskip("keras_hub", reason="KerasHub is installed by `make test-hub`")
        pytest.importorskip("tensorflow", reason="the page shuffles by tf.data")
    monkeypatch.setattr("mnist1d.data.make_dataset", lambda arguments: dict(mnist1d))
    if path.stem == "random-walk":
        keras.config.set_max_steps_per_epoch(None)  # it fits laws to 20 updates
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    source = shortened(path.read_text())
    try:
        exec(compile(source, str(path), "exec"), {"__name__": "__main__"})
    finally:
        import matplotlib.pyplot as plt

        plt.close("all")
    assert keras.distribution.distribution() is None
    assert keras.config.dtype_policy().name == "float32"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_is_shown_was_made_from_the_script_as_it_is(path):
    mend = f"run: make tutorials ARGS={path.stem}"
    source = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    page, notebook = (path.with_suffix(ending).read_text() for ending in (".md", ".ipynb"))
    assert page.startswith(f"<!-- {path.name}, sha256 {source};"), mend
    assert json.loads(notebook)["metadata"]["source_sha256"] == source, mend
    assert MARK not in page + notebook
    shown = re.findall(r"^!\[(.+)\]\((.+)-(light|dark)\.svg#only-\3\)$", page, re.MULTILINE)
    assert all(len(alternative) > 20 for alternative, *_ in shown)
    drawn = {each.name for each in TUTORIALS.glob(f"{path.stem}-[0-9]*.svg")}
    assert {f"{name}-{theme}.svg" for _, name, theme in shown} == drawn != set()


def test_the_index_has_each_tutorial_once_and_how_long_it_takes():
    index = (TUTORIALS / "index.md").read_text()
    rows = re.findall(r"^\| \[.+\]\((.+)\.md\) \|.+\| (\d+) min \|$", index, re.MULTILINE)
    assert sorted(name for name, _ in rows) == [path.stem for path in SCRIPTS]
    for name, minutes in rows:
        assert f"\n\n*Runs in {minutes} min" in (TUTORIALS / f"{name}.md").read_text()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_begins_with_its_finding_and_ends_with_where_to_go(path):
    source = path.read_text()
    assert re.match(r"# %% \[markdown\]\n# # .+\n#\n# \*\*[^*]+\.\*\*\n#\n", source)
    assert 1 <= source.partition("# ## Next\n")[2].count("\n# - ") <= 2


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_tutorial_has_values_for_the_tests_that_readers_do_not_see(path):
    source = path.read_text()
    assert MARK in source
    assert MARK not in unmarked(source)
    short, shown = shortened(source), unmarked(source)
    assert short != shown
    assert short.count("\n") == shown.count("\n") == source.count("\n")


def test_a_value_for_the_tests_takes_the_place_of_a_right_hand_side():
    source = "a, b = [0, 1], 100  # quick: [0], 2\nif a:\n    c = d = (1, 2)  # quick: ()\n"
    assert unmarked(source) == "a, b = [0, 1], 100\nif a:\n    c = d = (1, 2)\n"
    values = {}
    exec(shortened(source), values)
    assert [values[name] for name in "abcd"] == [[0], 2, (), ()]


@pytest.mark.parametrize(
    "line",
    [
        "a = [  # quick: 1",
        "a += 1  # quick: 2",
        "for a in b:  # quick: c",
        "a == b  # quick: c",
        "a = 1; b = 2  # quick: 3",
        "a = 1  # quick:",
        "a = 1  # quick: 2 3",
        "# quick: 1",
    ],
)
def test_a_value_that_cannot_take_its_place_is_an_error(line):
    with pytest.raises(ValueError, match=r"line 2: .* is no assignment of one line"):
        shortened(f"\n{line}\n")
