"""The evidence pages: what they say is made from the results that are committed beside them."""

import json
import tomllib

import keras
import pytest

from reproduction import findings_report, report, runs
from reproduction.criteria import parts
from reproduction.wording import plain
from scripts import evidence

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="text from JSON, the same on every backend"
)
PUBLISHED = evidence.published()
NAMES = [name for name, _, _ in PUBLISHED]


def page_of(experiment):
    return next(p for p, start in evidence.SOURCES.items() if experiment.paper.startswith(start))


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
    pictures = sorted(path.name for path in folder.glob("*.svg"))
    assert pictures
    shown = (evidence.PAGES / f"{page_of(experiment)}.md").read_text()
    assert all(f"({name}/{picture}#only-" in shown for picture in pictures)
    assert (folder / "trainings.csv").read_text().count("\n") == 1 + len(content["trainings"])
    assert not content["settings"]["quick"]
    assert not content["settings"]["scored_on"].endswith("held-out samples")
    assert {0, 1}.isdisjoint(content["seeds"]), "the seeds that settings were chosen with"
    arms = {training["arm"] for training in content["trainings"]}
    assert len(content["trainings"]) == len(arms) * len(content["seeds"])
    findings = findings_report.findings_of(experiment, content)
    assert {found.count for found in findings} == {len(content["seeds"])}
    assert content["sources"]["keras_bigbatch"][:12] in report.page(experiment, content, name)
    # The first is what made the results before the command was renamed.
    assert content["command"].startswith(
        ("python examples/reproduce.py ", "python -m reproduction ")
    )


@pytest.mark.parametrize(("name", "experiment", "content"), PUBLISHED, ids=NAMES)
def test_results_by_the_criteria_are_of_their_draw_and_seeds(name, experiment, content):
    if not findings_report.by_these_criteria(experiment, content):
        pytest.skip("made before the criteria, as its page says")
    entry = tomllib.loads((parts.FOLDER / "figures.toml").read_text())["data"]
    (data,) = (each for key, each in entry.items() if content["data"].startswith(key))
    assert content["settings"]["draw"] == data["draw"]
    assert content["seeds"] == data["seeds"]


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
    content = json.loads((tmp_path / NAMES[0] / "results.json").read_text())
    findings = PUBLISHED[0][1].findings(content["trainings"])
    # A row a part, and one in the table of shared trainings.
    assert texts["index"].count(f"#{NAMES[0]})") == len(findings) + 1
    assert all(f"[{plain(found.part.claim)}]" in texts["index"] for found in findings)
    assert sum(report.wrapped(content["command"]) in text for text in texts.values()) == 1


def test_results_of_the_criteria_as_they_are_have_no_asterisk(tmp_path, monkeypatch):
    name, experiment, content = PUBLISHED[0]
    older = {**content, "criteria_file": None}
    now = {**content, "criteria_file": parts.stamp_of(experiment.criteria)}
    monkeypatch.setattr(evidence, "published", lambda: [(name, experiment, now)])
    assert findings_report.OLDER not in evidence.overview()
    both = [(name, experiment, now), ("other", experiment, older)]
    monkeypatch.setattr(evidence, "published", lambda: both)
    overview = evidence.overview()
    assert overview.count(" * ") == len(experiment.findings(content["trainings"]))
    assert overview.count(findings_report.OLDER) == 1
    # The same trainings under two names are shared.
    assert f"| [other](hoffer.md#other) | {experiment.title}" in overview.replace("  ", "")
    assert overview.partition("Shared")[2].count(f"[{name}](hoffer.md#{name})") == 2


def test_results_of_older_sources_are_listed_with_what_has_changed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(evidence, "PAGES", tmp_path)
    now = runs.hashes(["training.py", "settings.py"])
    made_with = {
        "as-it-is": now,
        "of-a-file": {**now, "training.py": "0", "gone.py": "0"},
        "inside/of-the-package": {**now, "keras_bigbatch": "0"},
    }
    for name, sources in made_with.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "results.json").write_text(json.dumps({"sources": sources}))
    monkeypatch.setattr("sys.argv", ["evidence", "--moved"])
    evidence.main()
    assert capsys.readouterr().out.splitlines() == [
        "inside/of-the-package: changed: keras_bigbatch",
        "of-a-file: changed: training.py; no longer there: gone.py",
    ]


def test_a_page_without_marks_is_refused():
    with pytest.raises(SystemExit, match="has no lines"):
        evidence.between_marks("no marks", "new")


def test_a_page_may_have_marks_with_a_name_beside_those_without():
    named = evidence.BEGIN.replace("results", "results of remedies")
    text = f"{named}\nold\n{evidence.END}\nbetween\n{evidence.BEGIN}\nold\n{evidence.END}\n"
    text = evidence.between_marks(text, "first", "remedies")
    text = evidence.between_marks(text, "second")
    parts = [named, "first", evidence.END, "between", evidence.BEGIN, "second", evidence.END]
    assert [line for line in text.splitlines() if line] == parts
