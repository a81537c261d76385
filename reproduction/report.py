"""From trainings to text and files: lines and tables for a terminal, JSON, CSV and Markdown."""

import csv
import json
import statistics
import textwrap
from pathlib import Path

from reproduction import findings_report
from reproduction.plotting import written
from reproduction.runs import PACKAGE, QUICK, write_atomically
from reproduction.statistics import mean_and_noise, spread
from reproduction.wording import plain

COLUMNS = (
    "arm",
    "seed",
    "batch",
    "epochs",
    "updates",
    "samples",
    "seconds",
    "train_loss",
    "train_accuracy",
    "test_loss",
    "test_accuracy",
)


def line(result, split):
    """One training in one line; `split` is what it was scored on."""
    return (
        f"{split} {100 * result['test_accuracy']:5.2f} %  "
        f"training {100 * result['train_accuracy']:6.2f} %  {result['seconds']:3.0f} s"
    )


def with_deviation(arm):
    """An accuracy of `summarise`, with its deviation if it has one."""
    deviation = arm["test_deviation"]
    return f"{arm['test_accuracy']:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def with_noise(values, form="{:.2f}"):
    """As in "1.57 ± 0.04"; one seed has no noise to show."""
    mean, noise = mean_and_noise(values)
    text = form.format(mean)
    return text if len(values) < 2 else f"{text} ± {form.format(noise)}"


def costs(summary, seconds="{:.0f}"):
    """What each arm cost: rows of a label and a cell an arm."""
    return [
        (label, [form.format(arm[key]) for arm in summary.values()])
        for label, key, form in (
            ("training accuracy, %", "train_accuracy", "{:.2f}"),
            ("updates", "updates", "{:,.0f}"),
            ("samples processed", "samples", "{:,.0f}"),
            ("seconds", "seconds", seconds),
        )
    ]


def seeds(numbers):
    """As in "seeds 10, 11"."""
    return f"seed{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def ruled(notes, *groups, quick=False):
    """A table for a terminal: notes, and groups of lines with a rule around each."""
    rule = "-" * max(len(line) for group in groups for line in group)
    lines = [line for group in groups for line in (*group, rule)]
    return "\n".join([*notes, *([QUICK] if quick else []), rule, *lines])


def write(folder, results, context, columns=COLUMNS, rows=None):
    """Write `trainings.csv`, a row a training or what `rows` has, and `results.json`, the rest."""

    def write_csv(part):
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(results if rows is None else rows)

    content = json.dumps({**context, "trainings": results})
    # A training that diverged has NaNs, which JSON does not know.
    content = json.dumps(json.loads(content, parse_constant=lambda _: None), indent=1)
    write_atomically(folder / "trainings.csv", write_csv)
    write_atomically(folder / "results.json", lambda part: part.write_text(content + "\n"))


def lean(results, *columns):
    """Trainings by criteria, less what these say of their arms, and less the curves."""
    kept = ("criteria", *columns)
    return [{name: each[name] for name in kept if name in each} for each in results]


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
    columns = (*COLUMNS, "network", "normalization", "virtual_batch")
    write(Path(folder), results, {"experiment": experiment.name, **context}, columns)


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


def page(experiment, content, folder=None, pictures=None):
    """The report: what was claimed, what was measured, and with what.

    Args:
        experiment: Whose results they are.
        content: Of `results.json`.
        folder: The heading's anchor, on a page of several reports.
        pictures: Their Markdown; by default that of `figure.png` beside the report.
    """
    results = content["trainings"]
    quick = content["settings"]["quick"]
    name = content["data"].partition(",")[0]
    lines = [
        f"## {experiment.title}, {name}" + (f" {{#{folder}}}" if folder else ""),
        f"*{experiment.paper}.* {experiment.claim}",
        experiment.table(results),
        *([QUICK] if quick else judged(experiment, content)),
        pictures or f"![{experiment.title}](figure.png)",
        f"{content['data']}; {content['notes']}. Mean ± standard deviation over seeds "
        f"{', '.join(map(str, content['seeds']))}. {made_by(content)}.",
        f"```sh\n{wrapped(content['command'])}\n```",
    ]
    return "\n\n".join(lines) + "\n"


def made_by(content):
    """How many trainings, how long they took, on what and with what.

    Args:
        content: Of `results.json`.
    """
    trainings, machine = content["trainings"], content["hardware"]
    seconds = sum(training["seconds"] for training in trainings)
    versions = content["versions"]
    backend = versions["backend"]
    return (
        f"{len(trainings)} runs, {seconds:,.0f} s in total, on {machine['cores']} "
        f"core{'s' * (machine['cores'] > 1)} of {machine['accelerator'] or machine['cpu']} with "
        f"Keras {versions['keras']}, {backend} {versions[backend]} and `{PACKAGE}` (SHA-256 "
        f"{content['sources'][PACKAGE][:12]})"
    )


def judged(experiment, content):
    """The verdict, a table with a row a part of the claim, and notes: paragraphs of a page."""
    findings = findings_report.findings_of(experiment, content)
    rows = [[plain(finding.part.claim), *findings_report.cells(finding)] for finding in findings]
    table = markdown_table(["part of the claim", *findings_report.HEADING], rows)
    notes = findings_report.notes(experiment, content)
    return [findings_report.lead(findings), table, *([notes] if notes else [])]


def wrapped(command):
    """A command on lines that a page shows whole."""
    lines = textwrap.wrap(command, 74, break_long_words=False, break_on_hyphens=False)
    return " \\\n    ".join(lines)


def draw(path, experiment, content, results):
    """The picture, as PNG."""
    title = f"{experiment.title}, {content['data']}"
    with written(path, title, content["settings"]["quick"], dpi=120) as picture:
        experiment.draw(picture, results)
