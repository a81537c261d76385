"""The tutorials: each runs on this backend, and what the site shows was made from it."""

import hashlib
import json
import re
import runpy

import keras
import pytest

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
    """The data of most pages, which takes a second to draw."""
    from mnist1d import data

    return data.make_dataset(data.get_dataset_args())


@pytest.mark.filterwarnings("ignore:Limiting steps_per_epoch to 1:UserWarning")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.*run_functions_eagerly`:UserWarning")
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
    monkeypatch.setenv("KBB_QUICK", "1")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    try:
        runpy.run_path(str(path), run_name="__main__")
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
    page = path.with_suffix(".md").read_text()
    assert page.startswith(f"<!-- {path.name}, sha256 {source};"), mend
    notebook = json.loads(path.with_suffix(".ipynb").read_text())
    assert notebook["metadata"]["source_sha256"] == source, mend
    shown = re.findall(r"^!\[(.+)\]\((.+)\)$", page, re.MULTILINE)
    assert all(len(alternative) > 20 for alternative, _ in shown)
    drawn = {each.name for each in TUTORIALS.glob(f"{path.stem}-[0-9]*.png")}
    assert {name for _, name in shown} == drawn != set()


def test_the_index_has_each_tutorial_once():
    index = (TUTORIALS / "index.md").read_text()
    assert sorted(re.findall(r"^\| \[.+\]\((.+)\.md\)", index, re.MULTILINE)) == [
        path.stem for path in SCRIPTS
    ]
