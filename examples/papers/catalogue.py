"""Every table row and figure that `reproduce.py` can make, by name."""

from papers.demo_row import DEMO
from papers.figures import (
    gao_1,
    gao_2,
    gao_3,
    gao_4,
    gao_5,
    gao_7,
    gao_8,
    gao_9,
    gao_11,
    gao_16,
    hoffer_1,
    hoffer_2,
    hoffer_3,
    hoffer_4,
    hoffer_6,
    hoffer_7,
    keskar_path,
    keskar_sharpness,
    keskar_training,
    keskar_warm_start,
    stretch,
)
from papers.rows import TABLE1, TABLE2, row
from papers.table import TableRow

FIGURES = (
    hoffer_1.ErrorByBatch,
    hoffer_2.DistanceOverUpdates,
    hoffer_3.RegimesCompared,
    hoffer_4.RandomPotentialAtStart,
    hoffer_6.NoiseOrRate,
    hoffer_7.DistanceByBatch,
    stretch.Stretch,
    keskar_sharpness.Sharpness,
    keskar_path.Path,
    keskar_training.Training,
    keskar_warm_start.WarmStart,
    gao_1.Figure1,
    gao_2.Figure2,
    gao_3.Figure3,
    gao_4.Figure4,
    gao_5.Figure5,
    gao_7.Figure7,
    gao_8.Figure8,
    gao_9.Figure9,
    gao_11.Figure11,
    gao_16.Figure16,
)


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
