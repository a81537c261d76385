"""Every table row and figure that `reproduce.py` can make, by name."""

from papers.demo_row import DEMO
from papers.rows import TABLE1, TABLE2, row
from papers.table import TableRow


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
    every = []
    return {figure.name: figure for figure in every}


def everything():
    """Tables' rows and figures together, for reports."""
    rows = [row for table in table_rows().values() for row in table.values()]
    return {experiment.name: experiment for experiment in [*rows, *figures().values()]}
