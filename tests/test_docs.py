"""What is written is true: every `python` fence runs, every link leads somewhere."""

import inspect
import re
import sys
from pathlib import Path

import keras
import pytest

import keras_bigbatch
from tests.registry import RECORDS
from tests.test_public_api import ROOT, SYMBOLS

sys.path.append(str(ROOT / "scripts"))

import offline

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^(?P<indent> *)```python[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def fences(text):
    """The code of a page's or docstring's fences, each at the line where it stands."""
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code"))
        yield "\n" * line + inspect.cleandoc("\n" + match["code"])


def run(sources, name):
    """Runs blocks one after the other, as a reader would paste them; the names they leave."""
    namespace = {"__name__": "__main__"}
    for source in sources:
        exec(compile(source, name, "exec"), namespace)
    return namespace


# The tutorials have tests of their own: their pages take minutes.
PAGES_WITH_CODE = [
    page for page in PAGES if page.parent.name != "tutorials" and FENCE.search(page.read_text())
]


@pytest.fixture
def quickly_compiled():
    """On JAX: what runs once or twice takes longer to optimize than to run."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.mark.usefixtures("quickly_compiled")
@pytest.mark.parametrize("page", PAGES_WITH_CODE, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # pages save models
    run(fences(page.read_text()), str(page))


def test_home_shows_the_plan_as_it_prints():
    text = (ROOT / "docs" / "index.md").read_text()
    recipe = next(each for each in fences(text) if "regime.at(" in each)
    lines = recipe.strip().partition("\n\n")[0]
    assert f"```text\n{run(['import keras_bigbatch as kbb', lines], 'home')['plan']}\n```" in text


@pytest.mark.parametrize("path", SYMBOLS)
def test_docstring_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    symbol = SYMBOLS[path]
    blocks = list(fences(inspect.getdoc(symbol)))
    if not blocks:
        assert symbol in RECORDS, "every other public symbol has an example"
        pytest.skip("its example is that of the function that makes it")
    run(blocks, path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in LINK.findall(text):
        if not target.startswith(("http://", "https://", "mailto:", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_site_navigation_has_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert re.search(rf"(: |- ){re.escape(name)}$", navigation, re.MULTILINE), name


def literals(package):
    """The text of a package's sources, strings that are written in several pieces joined."""
    sources = Path(package.__file__).parent.rglob("*.py")
    return re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in sources))


def test_messages_to_troubleshoot_are_those_that_are_raised():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    own, _, theirs = page.partition("## From Keras")
    messages = [re.findall(r"^### `(.*)`$", part, re.MULTILINE) for part in (own, theirs)]
    assert min(map(len, messages)) >= 3
    ours, keras_s = literals(keras_bigbatch), literals(keras)
    assert [message for message in messages[0] if message not in ours] == []
    others = [
        "Unable to synchronously open file",  # HDF5's
        "merge_call called while defining a new graph",  # TensorFlow's
    ]
    assert [m for m in messages[1] if m not in keras_s] == others


def test_offline_check_finds_what_is_missing_and_what_is_fetched(tmp_path):
    (tmp_path / "a").mkdir()
    good = '<a href="../">up</a> <a href="#x">x</a> <p id="x"><a href="https://example.org">out</a>'
    (tmp_path / "a" / "index.html").write_text(good)
    (tmp_path / "index.html").write_text('<a href="a/#x">x</a>')
    assert list(offline.problems(tmp_path)) == []
    bad = '<a href="b/"></a><a href="a/#y"></a><img src="c.png"><script src="//example.org/d.js">'
    (tmp_path / "index.html").write_text(bad)
    assert list(offline.problems(tmp_path)) == [
        "index.html: fetches //example.org/d.js",
        "index.html: b/ is not there",
        "index.html: a/#y has no such place",
        "index.html: c.png is not there",
    ]


def test_a_reader_needs_nothing_of_this_machine():
    for page in PAGES:
        assert not re.search(r"(/root|/work|/home|/tmp)/", page.read_text()), page


def test_the_fence_finder_finds_fences():
    """Without this, a page whose fences are not seen would pass."""
    text = (
        "a\n```python\nx = 1\n```\n=== tab\n\n    ```python\n    x += 1\n    ```\n```sh\nno\n```\n"
    )
    namespace = {}
    for source in fences(text):
        exec(source, namespace)
    assert namespace["x"] == 2
    assert len(PAGES_WITH_CODE) >= 3
