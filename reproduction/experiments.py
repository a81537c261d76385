"""The commands `table1`, `table2`, `figure`, `list` and `report`: experiments by name."""

import dataclasses
from pathlib import Path

from reproduction import cost, report
from reproduction.criteria.parts import stamp_of
from reproduction.figures import FIGURES
from reproduction.recipes.demo import DEMO, QUICK_SEEDS, SEEDS
from reproduction.recipes.rows import TABLE1, TABLE2, row
from reproduction.runs import Runs, writes
from reproduction.settings import setting_of
from reproduction.tables import TableRow

# What decides the outcome; beside these an experiment names its own.
SOURCES = (
    "training.py",
    "networks/small.py",
    "data/arrays.py",
    "data/shares.py",
    "recipes/demo.py",
    "experiment.py",
    "settings.py",
    "devices.py",
)


def main(options):
    """Make, list or report."""
    if options.command == "list":
        print(listing())
    elif options.command == "report":
        print(report.make(options.folder, everything()))
    elif getattr(options, "estimate", False):
        print(cost.estimate(experiment_of(options).row))
    else:
        make(options)


def cases_of(options, content=None):  # noqa: ARG001 - published results decide nothing here
    """The trainings of a table's row or a figure."""
    experiment, setting = setting_of(experiment_of(options), options)
    return experiment.cases(setting)


def make(options):
    """The trainings that are not finished yet, then the report."""
    experiment, setting = setting_of(experiment_of(options), options)
    print(f"{experiment.title}: {setting.data.name}, {setting.notes}\n")
    folder = f"{options.command}-{options.name}".lower()
    folder = options.output or Path("results") / "papers" / folder
    settings = {
        "data": str(options.data_dir or setting.data.name),
        "trained_on": setting.data.examples,
        "scored_on": setting.data.scored_on,
        "draw": options.draw,
        "policy": options.mixed_precision or "float32",
        "devices": options.distribute,
        "quick": options.quick,
    }
    runs = Runs(folder / "runs", settings, (*SOURCES, *experiment.sources))
    seeds = options.seeds or (QUICK_SEEDS if options.quick else SEEDS)
    criteria = stamp_of(experiment.criteria)
    cases = [_stamped(case, criteria) for case in experiment.cases(setting)]
    results = [
        {**result, "scored": setting.data.scored}
        for result in runs.make(cases, seeds, _line(setting.data.split))
    ]
    if not writes():
        return  # The report is made of a file, which another process may not have written yet.
    context = {
        "data": f"{setting.data.name}, {setting.data.scored_on}",
        "notes": setting.notes,
        "seeds": seeds,
        "command": options.as_typed,
        "criteria_file": _common_stamp(results),
        **runs.context(),
    }
    report.keep(folder, experiment, results, context)
    print(f"\n{report.make(folder, everything())}")
    print(f"Report, picture, CSV and JSON are in {folder}.")


def _stamped(case, criteria):
    """The case, its result with the criteria that there were when it was made."""
    run = case.run
    return dataclasses.replace(case, run=lambda *to: {**run(*to), "criteria_file": criteria})


def _common_stamp(results):
    """Takes the stamps off the results; None if they are not all the same."""
    first, *others = (result.pop("criteria_file") for result in results)
    return first if all(other == first for other in others) else None


def _line(split):
    """A training in one line, or what a measurement took."""
    return lambda result: (
        report.line(result, split) if "test_accuracy" in result else f"{result['seconds']:5.1f} s"
    )


def experiment_of(options):
    """The experiment that was asked for; stops with a sentence if there is none."""
    if options.command == "figure":
        known = figures()
    else:
        known = table_rows(options.variant)[int(options.command[-1])]
    if options.name not in known:
        name = f"{options.command} {options.name!r}"
        raise SystemExit(f"reproduction: {name} is none of {', '.join(known)}")
    return known[options.name]


def table_rows(variant="paper"):
    """The rows by the number of the table and the paper's name of the network; and the demo's."""
    tables = {
        number: {name: TableRow(number, row(name, variant)) for name in rows}
        for number, rows in ((1, TABLE1), (2, TABLE2))
    }
    tables[1][DEMO.name] = TableRow(1, DEMO)
    return tables


def figures():
    """The figures, by name."""
    return {figure.name: figure() for figure in FIGURES}


def everything():
    """Tables' rows and figures together, for reports."""
    rows = [row for table in table_rows().values() for row in table.values()]
    return {experiment.name: experiment for experiment in [*rows, *figures().values()]}


def listing():
    """What can be made, a line each: the words to type, and a title."""
    rows = table_rows()
    known = {f"table{number} {name}": row for number in rows for name, row in rows[number].items()}
    known |= {f"figure {name}": figure for name, figure in figures().items()}
    width = max(map(len, known))
    return "\n".join(f"{words:{width}}  {each.title}" for words, each in known.items())
