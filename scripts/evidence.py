"""Publish what `python -m reproduction` measured on the site's evidence pages.

    python -m scripts.evidence results/papers/*

copies each folder's results, as JSON and CSV, and its picture to `docs/evidence`, and writes the
tables and sentences anew between the pages' marks, from the JSON alone. Without folders it only
writes the pages. The folders of `python -m reproduction moments`, `controls` and `recipes` have
pages of their own.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

# Not used, but Keras wants one that is installed, and reads it when it is imported.
os.environ.setdefault("KERAS_BACKEND", "jax")

from reproduction import controls_report, experiments, moments_page, report
from reproduction.controls import NAMES as CONTROLS
from reproduction.controls import Controls
from reproduction.criteria.reader import Criteria
from reproduction.moves import report as moves_report

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
    """The table of everything: what was claimed, and how it came out here."""
    rows = []
    for name, experiment, content in published():
        page = next(p for p, starts in SOURCES.items() if experiment.paper.startswith(starts))
        data = content["data"].partition(",")[0]  # as in the section's heading: a row has several
        link = f"[{experiment.title}, {data}]({page}.md#{name})"
        outcome = experiment.verdict(content["trainings"]).partition(":")[0]
        seeds = len(content["seeds"])
        rows.append(
            [experiment.paper, link, outcome, content["data"], content["notes"], f"{seeds}"]
        )
    heading = ["source", "what", "outcome", "data", "scale", "seeds"]
    return report.markdown_table(heading, rows)


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
    for folder in parser.parse_args().folders:
        publish(folder)
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
