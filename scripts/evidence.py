"""Publish what `python -m reproduction` measured on the site's evidence pages.

    python -m scripts.evidence results/papers/*

copies each folder's results, as JSON and CSV, to `docs/evidence`, draws its pictures, and writes
the tables and sentences anew between the pages' marks, from the JSON alone. Without folders it only
writes the pages. A folder's name says what it has: that of `reproduction/places.py` for what has a
page or a part of one, else any.

    python -m scripts.evidence --pictures

draws all pictures anew, from the JSON alone.

    python -m scripts.evidence --moved

lists the results that were made with older sources than there are now, and writes nothing.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

# Not used, but Keras wants one that is installed, and reads it when it is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

from reproduction import experiments, panels, report, runs
from reproduction.criteria.reader import Criteria
from reproduction.findings_report import (
    HEADING,
    OLDER,
    by_these_criteria,
    cells,
    findings_of,
)
from reproduction.moves import report as moves_report
from reproduction.moves.command import PACKAGE as RECIPES
from reproduction.places import ALSO, PLACES
from reproduction.shared_trainings import shared
from reproduction.wording import plain

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "evidence"
BEGIN, END = "<!-- results: scripts/evidence.py -->", "<!-- end of the results -->"
# By the page's name, how the sources of its experiments begin.
SOURCES = {"hoffer": ("Hoffer", "Our own"), "keskar": ("Keskar",), "gao-zhong": ("Gao",)}
PICTURE = "figure"  # how the names of a table's or figure's pictures begin


def publish(folder):
    """Copies a folder's results under its own name, and draws them."""
    judged = "criteria" in json.loads((folder / "results.json").read_text())
    moved = judged and folder.name not in PLACES
    target = (PAGES / "recipes" if moved else PAGES) / folder.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("results.json", "trainings.csv"):
        shutil.copyfile(folder / name, target / name)
    if not moved:
        draw(folder.name)


def draw(name):
    """Draws what is published under a name, where there is something to see.

    Args:
        name: The folder's.
    """
    for old in (PAGES / name).glob("*.svg"):
        old.unlink()
    content = _content(name)
    if name in PLACES:
        for drawn, picture in PLACES[name].pictures.items():
            panels.write(PAGES / name, drawn, lambda on, by=picture: by.draw(on, content))
        return
    experiment = experiments.everything()[content["experiment"]]
    panels.write(PAGES / name, PICTURE, lambda on: experiment.draw(on, content["trainings"]))


def _content(name):
    return json.loads((PAGES / name / "results.json").read_text())


def published():
    """What there is: name of the folder, experiment and content, in the catalogue's order."""
    known = experiments.everything()
    order = list(known)
    found = []
    for path in sorted(PAGES.glob("*/results.json")):
        if path.parent.name in PLACES:
            continue
        content = json.loads(path.read_text())
        found.append((path.parent.name, known[content["experiment"]], content))
    return sorted(found, key=lambda each: order.index(each[1].name))


def recipes():
    """The results of the moved recipes, in the criteria's order of the data sets."""
    names = Criteria("recipes").content["data"]
    paths = [PAGES / "recipes" / name / "results.json" for name in names]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def sections(page):
    """The reports of a page's experiments, one below the other."""
    return "\n".join(
        report.page(experiment, content, name, _pictures(name, experiment))
        for name, experiment, content in published()
        if experiment.paper.startswith(SOURCES[page])
    )


def _pictures(name, experiment):
    count = len(list((PAGES / name).glob(f"{PICTURE}-*-light.svg")))
    return panels.markdown(name, PICTURE, count, experiment.title)


def overview():
    """The table of everything, a row a part of a claim; and what it is not independent of."""
    rows, notes = [], []
    for name, experiment, content in published():
        mark = ""
        if not by_these_criteria(experiment, content):
            mark, notes = " *", [f"\\* {OLDER}"]
        for finding in findings_of(experiment, content):
            source = f"{experiment.paper}; {_data(content)}"
            claim = f"[{plain(finding.part.claim)}]({_section(name, experiment)})"
            verdict, *numbers = cells(finding)
            rows.append([claim, f"{verdict}{mark}", *numbers, f"{finding.count}", source])
    table = report.markdown_table(["part of the claim", *HEADING, "n", "source"], rows)
    return "\n\n".join([table, *notes, *_shared()])


def _shared():
    """A heading and a table: which experiments have trainings in common."""
    known = {name: (experiment, content) for name, experiment, content in published()}
    links = {
        name: f"[{name}]({_section(name, experiment)})" for name, (experiment, _) in known.items()
    }
    common = shared({name: content for name, (_, content) in known.items()})
    rows = [
        [links[name], f"{known[name][0].title}, {_data(known[name][1])}", _listed(others, links)]
        for name, others in common.items()
    ]
    heading = ["name", "experiment", "shares runs with"]
    return (
        "## Shared runs",
        "Runs with the same data, seed and recipe are the same run. Experiments that share runs "
        "are not independent evidence.",
        report.markdown_table(heading, rows),
    )


def _listed(names, links):
    return ", ".join(links[name] for name in names) or "-"


def _data(content):
    """The data's name, as in the section's heading: a row has several."""
    return content["data"].partition(",")[0]


def _section(name, experiment):
    page = next(p for p, starts in SOURCES.items() if experiment.paper.startswith(starts))
    return f"{page}.md#{name}"


def moved():
    """A line a result that was made with other sources than there are now, and with which."""
    lines = []
    for path in sorted(PAGES.rglob("results.json")):
        made_with = json.loads(path.read_text())["sources"]
        there = [name for name in made_with if (runs.HERE / name).is_file()]
        now = runs.hashes(there, *([RECIPES] if path.parent.parent.name == "recipes" else []))
        parts = {
            "changed": [name for name in now if now[name] != made_with[name]],
            "no longer there": [name for name in made_with if name not in now],
        }
        said = "; ".join(f"{what}: {', '.join(files)}" for what, files in parts.items() if files)
        if said:
            lines.append(f"{path.parent.relative_to(PAGES)}: {said}")
    return lines


def between_marks(text, new, mark=""):
    """The text with what stands between the marks replaced.

    Args:
        text: Of a page.
        new: What it should have there.
        mark: The marks' own name, where a page has several.
    """
    first = BEGIN.replace("results", f"results of {mark}") if mark else BEGIN
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"a page has no lines {first!r} and {END!r}")
    return f"{before}{first}\n\n{new}\n\n{END}{after}"


def pages():
    """The text that each page should have, by its path."""
    parts = [(PAGES / "index.md", overview())]
    parts += [(PAGES / f"{page}.md", sections(page).strip()) for page in SOURCES]
    if moved := recipes():
        parts.append((PAGES / "recipes.md", moves_report.page(Criteria("recipes"), moved)))
    for name, place in (*PLACES.items(), *ALSO):
        if (PAGES / name / "results.json").exists():
            path = ROOT / place.page
            folder = os.path.relpath(PAGES / name, path.parent)
            made = place.make(_content(name), Path(folder).as_posix())
            parts.append((path, made, place.mark))
    texts = {}
    for path, *part in parts:
        texts[path] = between_marks(texts.get(path) or path.read_text(), *part)
    return texts


def main():
    """Publishes the folders, and writes the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, help="where the trainings are")
    parser.add_argument("--pictures", action="store_true", help="draw all pictures anew")
    parser.add_argument("--moved", action="store_true", help="list results of older sources")
    options = parser.parse_args()
    if options.moved:
        print("\n".join(moved()))
        return
    for folder in options.folders:
        publish(folder)
    if options.pictures:
        for path in PAGES.glob("*/results.json"):
            draw(path.parent.name)
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
