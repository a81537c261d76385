"""The papers' tables: a row of Hoffer, Hubara & Soudry's Tables 1 and 2, made anew."""

from reproduction import plotting
from reproduction.experiment import Experiment
from reproduction.paired import contrast
from reproduction.recipes.rows import ARMS
from reproduction.report import costs, markdown_table, with_deviation
from reproduction.statistics import by_arm, summarise, unfitted


class TableRow(Experiment):
    """Five arms: the small batch, the large one, and each with one part of the method more.

    Args:
        table: The table's number, 1 or 2.
        row: The row, of `rows.py`.
    """

    claim = (
        "The accuracy that a large batch loses comes back with the square-root rate, ghost batch "
        "normalization and an adapted regime."
    )
    sources = (
        "tables.py",
        "recipes/rows.py",
        "recipes/demo.py",
        "networks/plain.py",
        "networks/residual.py",
        "data/pipelines.py",
        "data/augmentation.py",
    )

    def __init__(self, table, row):
        self.number, self.row = table, row
        self.name = f"table{table}-{row.name}"
        self.title = f"Table {table}, row {row.name}"
        self.paper = f"Hoffer, Hubara & Soudry (2017), Table {table}, row {row.name}"

    def cases(self, setting):
        """A training an arm."""
        plans = {
            arm: self.row.plan(arm, setting.data.examples, setting.epochs_share) for arm in ARMS
        }
        norms = {"+GBN": setting.ghost, "+RA": setting.ghost}
        # With the plans everything that sets two rows, or a row's two variants, apart.
        names = ("momentum", "global_clipnorm", "clip_updates", "weight_decay", "augmentation")
        more = {name: getattr(self.row, name) for name in names}
        return [
            setting.case(arm, plan, norms.get(arm, setting.plain), **more)
            for arm, plan in plans.items()
        ]

    def table(self, results):
        """The row, the paper's below it, and what each arm cost."""
        summary = summarise(results)
        rows = [["accuracy here, %", *(with_deviation(arm) for arm in summary.values())]]
        paper = [self.row.paper[arm] for arm in summary]
        if any(paper):
            cells = ("" if value is None else f"{value:.2f}" for value in paper)
            rows.append([f"the paper's, {self.row.dataset}", *cells])
        rows += [[label, *cells] for label, cells in costs(summary)]
        return markdown_table(["", *summary], rows)

    @property
    def criteria(self):
        """All rows are judged by the same parts."""
        return "five-arms"

    def measures(self, results):
        """The gap, what each step adds, and the last arm from the small batch."""
        pairs = {
            "gap": ("SB", "LB"),
            "rate": ("+LR", "LB"),
            "ghosts": ("+GBN", "+LR"),
            "regime": ("+RA", "+GBN"),
            "level": ("+RA", "SB"),
        }
        return {name: contrast(results, [a], [b]).values for name, (a, b) in pairs.items()}

    def caveats(self, results):
        """The stretch, which is not the paper's by default, and arms that are under-trained."""
        return f"{stretched(results)} {unfitted(results)}".rstrip()

    def draw(self, picture, results):
        """Accuracies on the left, weight distances on the right."""
        plotting.draw_arms(picture, results, f"{results[0]['scored']:,} samples")


def stretched(results):
    """A sentence on the stretch of the adapted regime."""
    batches, epochs = by_arm(results, "batch"), by_arm(results, "epochs")
    stretch = epochs["+RA"][0] / epochs["SB"][0]
    ratio = batches["+RA"][0] / batches["SB"][0]
    return (
        f"The adapted regime is stretched by {stretch:g} here. The paper stretches it by the ratio "
        f"of the batches, {ratio:g}."
    )
