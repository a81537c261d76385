"""From the kept results to the page: Markdown and a picture, made from the JSON alone."""

import json
import statistics
import textwrap
from pathlib import Path

import _report
from _figure import written
from _report import QUICK, spread, write
from _runs import hardware, write_atomically

# What a row of the CSV has of a training; an experiment's own numbers are in the JSON.
COLUMNS = (*_report.COLUMNS, "network", "normalization", "virtual_batch")


def markdown_table(heading, rows):
    """A table in Markdown, its columns padded so that a terminal shows it well too.

    Args:
        heading: The columns' names.
        rows: Lists of cells, as text.
    """
    widths = [max(len(row[i]) for row in [heading, *rows]) for i in range(len(heading))]

    def line(cells):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(heading), rule, *map(line, rows)])


def cell(values, form="{:.2f}"):
    """The seeds' mean and standard deviation as the text of a table's cell."""
    mean = form.format(statistics.fmean(values))
    if len(values) < 2:
        return mean
    return f"{mean} ± {form.replace('+', '').format(spread(values))}"  # a spread has no sign


def keep(folder, experiment, results, context):
    """Writes `results.json` and `trainings.csv`.

    Args:
        folder: Where they go.
        experiment: Whose results they are.
        results: One dictionary a training.
        context: Everything that they share: data, command, versions, sources.
    """
    content = {"experiment": experiment.name, **context, "hardware": hardware()}
    write(Path(folder), results, content, COLUMNS)


def make(folder, experiments):
    """Writes `report.md` and `figure.png` from a folder's `results.json`; returns the report.

    Args:
        folder: Where `keep` wrote.
        experiments: The experiments by name.
    """
    folder = Path(folder)
    content = json.loads((folder / "results.json").read_text())
    experiment, results = experiments[content["experiment"]], content["trainings"]
    text = page(experiment, content)
    draw(folder / "figure.png", experiment, content, results)
    write_atomically(folder / "report.md", lambda part: part.write_text(text))
    return text


def page(experiment, content, folder=None):
    """The report: what was claimed, what was measured, and with what.

    Args:
        experiment: Whose results they are.
        content: Of `results.json`.
        folder: The name of the folder beside the page that has the picture, on a page of several
            reports; it is the heading's anchor too.
    """
    results, machine = content["trainings"], content["hardware"]
    versions = content["versions"]
    backend = versions["backend"]
    seconds = sum(result["seconds"] for result in results)
    quick = content["settings"]["quick"]
    name = content["data"].partition(",")[0]
    lines = [
        f"## {experiment.title}, {name}" + (f" {{#{folder}}}" if folder else ""),
        f"*{experiment.paper}.* {experiment.claim}",
        experiment.table(results),
        QUICK if quick else experiment.verdict(results),
        f"![{experiment.title}]({f'{folder}/' if folder else ''}figure.png)",
        f"{content['data']}; {content['notes']}. Mean ± standard deviation over the seeds "
        f"{', '.join(map(str, content['seeds']))}. {len(results)} trainings, {seconds:,.0f} s in "
        f"all, on {machine['cores']} cores of {machine['accelerator'] or machine['cpu']} with "
        f"Keras {versions['keras']} and {backend} {versions[backend]}.",
        f"```sh\n{wrapped(content['command'])}\n```",
    ]
    return "\n\n".join(lines) + "\n"


def wrapped(command):
    """A command on lines that a page shows whole."""
    lines = textwrap.wrap(command, 74, break_long_words=False, break_on_hyphens=False)
    return " \\\n    ".join(lines)


def draw(path, experiment, content, results):
    """The picture, as PNG."""
    title = f"{experiment.title}, {content['data']}"
    with written(path, title, content["settings"]["quick"], dpi=120) as picture:
        experiment.draw(picture, results)
