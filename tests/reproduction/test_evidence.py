"""The evidence pages: what they say is made from the results that are committed beside them."""

import json

import keras
import pytest

from reproduction import report
from scripts import evidence

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="text from JSON, the same on every backend"
)
PUBLISHED = evidence.published()
NAMES = [name for name, _, _ in PUBLISHED]


def test_pages_are_those_of_the_results():
    for path, text in evidence.pages().items():
        assert path.read_text() == text, f"{path.name}: run scripts/evidence.py"


def test_every_result_is_on_one_page_and_in_the_overview():
    texts = [(evidence.PAGES / f"{page}.md").read_text() for page in evidence.SOURCES]
    overview = (evidence.PAGES / "index.md").read_text()
    for name in NAMES:
        assert sum(f"{{#{name}}}" in text for text in texts) == 1
        assert f"#{name})" in overview


@pytest.mark.parametrize(("name", "experiment", "content"), PUBLISHED, ids=NAMES)
def test_published_results_are_whole(name, experiment, content):
    folder = evidence.PAGES / name
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "trainings.csv").read_text().count("\n") == 1 + len(content["trainings"])
    assert not content["settings"]["quick"]
    assert not content["settings"]["scored_on"].endswith("held-out samples")
    assert {0, 1}.isdisjoint(content["seeds"]), "the seeds that settings were chosen with"
    arms = {training["arm"] for training in content["trainings"]}
    assert len(content["trainings"]) == len(arms) * len(content["seeds"])
    outcome = experiment.verdict(content["trainings"]).partition(":")[0]
    assert outcome in ("Reproduced", "Partly", "Not reproduced", "Cannot tell")
    # The first is what made the results before the command was renamed.
    assert content["command"].startswith(
        ("python examples/reproduce.py ", "python -m reproduction ")
    )


def test_a_published_folder_appears_between_the_marks(tmp_path, monkeypatch):
    source = evidence.PAGES / NAMES[0]
    monkeypatch.setattr(evidence, "PAGES", tmp_path)
    for page in ("index", *evidence.SOURCES):
        (tmp_path / f"{page}.md").write_text(
            f"above\n{evidence.BEGIN}\nold\n{evidence.END}\nbelow\n"
        )
    evidence.publish(source)
    texts = {path.stem: text for path, text in evidence.pages().items()}
    for text in texts.values():
        assert text.startswith("above\n")
        assert text.endswith("\nbelow\n")
        assert "old" not in text
    assert texts["index"].count(f"#{NAMES[0]})") == 1
    content = json.loads((tmp_path / NAMES[0] / "results.json").read_text())
    assert sum(report.wrapped(content["command"]) in text for text in texts.values()) == 1


def test_a_page_without_marks_is_refused():
    with pytest.raises(SystemExit, match="has no lines"):
        evidence.between_marks("no marks", "new")
