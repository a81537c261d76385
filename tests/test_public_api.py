"""The public surface: what is exported, documented, shipped, and loaded by the import."""

import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import keras
import pytest

import keras_bigbatch as kbb

ROOT = Path(__file__).resolve().parent.parent
BACKENDS = ("jax", "tensorflow", "torch")
NAMESPACES = [
    importlib.import_module(f"keras_bigbatch.{module.name}")
    for module in pkgutil.iter_modules(kbb.__path__)
    if module.ispkg and not module.name.startswith("_")
]
SYMBOLS = {
    f"{namespace.__name__}.{name}": getattr(namespace, name)
    for namespace in NAMESPACES
    for name in namespace.__all__
}


@pytest.mark.parametrize("module", [kbb, *NAMESPACES], ids=lambda module: module.__name__)
def test_all_is_sorted_complete_and_true(module):
    exported = module.__all__
    assert list(exported) == sorted(exported)
    assert all(hasattr(module, name) for name in exported)
    visible = {name for name in vars(module) if not name.startswith("_")}
    assert visible <= set(exported), f"{visible - set(exported)} is visible but not in __all__"


def test_names_at_the_top_are_those_of_the_namespaces():
    for name in kbb.__all__:
        value = getattr(kbb, name)
        assert value in NAMESPACES or value in SYMBOLS.values(), name
    assert set(NAMESPACES) == {
        getattr(kbb, namespace.__name__.split(".")[1]) for namespace in NAMESPACES
    }


@pytest.mark.parametrize("path", SYMBOLS)
def test_symbol_lives_in_the_file_of_its_name(path):
    symbol = SYMBOLS[path]
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", symbol.__name__).lower()
    together = {"to_ghost": "conversion", "to_plain": "conversion"}
    together |= {"layerwise_optimizer": "layerwise"}
    together |= {"fit_diffusion": "diffusion", "diffusion_fit": "diffusion"}
    together |= {"sqrt_fit": "diffusion", "power_fit": "diffusion"}
    namespace, _ = path.rsplit(".", 1)
    where = f"{namespace}._{together.get(snake, snake)}"
    # Optimizers need them too, and stand below the schedules.
    if snake in ("learning_rate_scaler", "regime_stretch", "scale_learning_rate"):
        where = f"keras_bigbatch._rates.{snake}"
    assert symbol.__module__ == where


@pytest.mark.parametrize("path", SYMBOLS)
def test_symbol_is_on_its_page_of_the_documentation(path):
    _, namespace, name = path.split(".")
    page = (ROOT / "docs/api" / f"{namespace}.md").read_text()
    assert re.search(rf"^::: {re.escape(path)}$", page, re.MULTILINE)
    overview = (ROOT / "docs/api/index.md").read_text()
    assert f"| [`{namespace}.{name}`]" in overview


@pytest.mark.parametrize("path", SYMBOLS)
def test_symbol_is_described(path):
    description = SYMBOLS[path].__doc__
    assert description
    first, rest = description.split("\n", 1)
    assert first.endswith("."), "the first line says what it does, in one sentence"
    assert "Args:" in rest or "Attributes:" in rest
    assert description.count("\n") < 55, "what does not fit belongs on a page"


def test_package_says_that_it_is_typed():
    assert (Path(kbb.__file__).parent / "py.typed").exists()


def test_version_is_the_newest_of_the_changelog():
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == kbb.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [kbb.__version__]


def test_lower_bounds_are_those_of_the_oldest_environment():
    """`requirements/oldest.txt` is what they are tested with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(name for key in BACKENDS for name in extras[key])]
    bounds = dict(name.split(">=") for name in asked if ">=" in name)
    oldest = (ROOT / "requirements/oldest.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==(.+)$", oldest, re.MULTILINE))
    common = bounds.keys() & pins.keys()
    assert common >= {"keras", "jax"}
    for name in common:
        assert f"{bounds[name]}.0" == pins[name], name


@pytest.mark.parametrize(("folder", "longest"), [("keras_bigbatch", 260), ("tests", 300)])
def test_no_file_is_too_long(folder, longest):
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / folder).rglob("*.py")
    }
    assert not {path for path, lines in lengths.items() if lines > longest}


def test_import_loads_nothing_more_than_keras():
    """No backend but the running one, and nobody else's module that Keras had not loaded."""
    if keras.backend.backend() == "tensorflow":
        pytest.skip("what it would see, TensorFlow not loaded before, is seen on JAX and torch")
    script = (
        "import sys, json, keras; before = set(sys.modules); import keras_bigbatch; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    added = json.loads(done.stdout.splitlines()[-1])
    packages = {name.split(".")[0] for name in added}
    assert packages - set(sys.stdlib_module_names) == {"keras_bigbatch"}
    assert not {f"keras_bigbatch._backend.{name}" for name in BACKENDS} & set(added)


def test_nothing_of_keras_is_imported_through_its_private_path():
    for path in Path(kbb.__file__).parent.rglob("*.py"):
        assert "keras.src" not in path.read_text(), path
    assert keras.layers.BatchNormalization in kbb.GhostBatchNormalization.__mro__
