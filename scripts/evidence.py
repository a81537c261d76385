"""Publish what `python -m reproduction` measured on the site's evidence pages.

    python -m scripts.evidence results/papers/*

copies each folder's results, as JSON and CSV, and its picture to `docs/evidence`, and writes the
tables and sentences anew between the pages' marks, from the JSON alone. Without folders it only
writes the pages. The folders of `python -m reproduction moments`, `controls` and `recipes` have
pages of their own.

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

from reproduction import controls_report, experiments, moments_page, report, runs
from reproduction.controls import NAMES as CONTROLS
from reproduction.controls import Controls
from reproduction.criteria.reader import Criteria
from reproduction.findings_report import (
    HEADING,
    OLDER,
    by_these_criteria,
    cells,
    findings_of,
)
from reproduction.moves import report as moves_report
from reproduction.shared_trainings import shared

PAGES = Path(__file__).resolve().parent.parent / "docs" / "evidence"
BEGIN, END = "<!-- results: scripts/evidence.py -->", "<!-- end of the results -->"
# By the page's name, how the sources of its experiments begin.
SOURCES = {"hoffer": ("Hoffer", "Our own"), "keskar": ("Keskar",), "gao-zhong": ("Gao",)}
MOMENTS = "moments"


def publish(folder):
    """Copies a folder's results under its own name."""
    judged = "criteria" in json.loads((folder / "results.json").read_text())
    moved = judged and folder.name not in CONTROLS
    target = (PAGES / "recipes" if moved else PAGES) / folder.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("results.json", "trainings.csv", *([] if judged else ["figure.png"])):
        shutil.copyfile(folder / name, target / name)


def published():
    """What there is: name of the folder, experiment and content, in the catalogue's order."""
    known = experiments.everything()
    order = list(known)
    found = []
    for path in sorted(PAGES.glob("*/results.json")):
        if path.parent.name in (MOMENTS, *CONTROLS):
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
        report.page(experiment, content, name)
        for name, experiment, content in published()
        if experiment.paper.startswith(SOURCES[page])
    )


def overview():
    """The table of everything, a row a part of a claim; and what it is not independent of."""
    rows, notes = [], []
    for name, experiment, content in published():
        mark = ""
        if not by_these_criteria(experiment, content):
            mark, notes = " *", [f"\\* {OLDER}"]
        for finding in findings_of(experiment, content):
            source = f"{experiment.paper}; {_data(content)}"
            claim = f"[{finding.part.claim}]({_section(name, experiment)})"
            *numbers, verdict = cells(finding)
            rows.append([source, claim, f"{finding.count}", *numbers, f"{verdict}{mark}"])
    table = report.markdown_table(["source", "part of the claim", "n", *HEADING], rows)
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
    heading = ["name", "what", "shares trainings with"]
    return (
        "## Shared trainings",
        "A training of the same data, seed and recipe is the same training. Experiments that share "
        "one are not independent evidence.",
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
        now = runs.hashes(there)
        parts = {
            "changed": [name for name in now if now[name] != made_with[name]],
            "no longer there": [name for name in made_with if name not in now],
        }
        said = "; ".join(f"{what}: {', '.join(files)}" for what, files in parts.items() if files)
        if said:
            lines.append(f"{path.parent.relative_to(PAGES)}: {said}")
    return lines


def between_marks(text, new):
    """The text with what stands between the marks replaced."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"a page has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def pages():
    """The text that each page should have, by its path."""
    texts = {PAGES / "index.md": overview()}
    texts |= {PAGES / f"{page}.md": sections(page).strip() for page in SOURCES}
    if moved := recipes():
        texts[PAGES / "recipes.md"] = moves_report.page(Criteria("recipes"), moved)
    for name in CONTROLS:
        path = PAGES / name / "results.json"
        if path.exists():
            content = json.loads(path.read_text())
            texts[PAGES / f"{name}.md"] = controls_report.page(Controls(name), content)
    moments = PAGES / MOMENTS / "results.json"
    if moments.exists():
        texts[PAGES / f"{MOMENTS}.md"] = moments_page.page(json.loads(moments.read_text()))
    return {path: between_marks(path.read_text(), new) for path, new in texts.items()}


def main():
    """Publishes the folders, and writes the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path, help="where the trainings are")
    parser.add_argument("--moved", action="store_true", help="list results of older sources")
    options = parser.parse_args()
    if options.moved:
        print("\n".join(moved()))
        return
    for folder in options.folders:
        publish(folder)
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
