"""The papers' tables: a row of Hoffer, Hubara & Soudry's Tables 1 and 2, made anew."""

import _figure
from _report import difference, summarise, verdict, with_deviation

from papers.experiment import Experiment
from papers.report import markdown_table
from papers.rows import ARMS


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
        "papers/table.py",
        "papers/rows.py",
        "papers/demo_row.py",
        "papers/plain_networks.py",
        "papers/residual_networks.py",
        "papers/pipelines.py",
        "papers/augmentation.py",
    )

    def __init__(self, table, row):
        self.row = row
        self.name = f"table{table}-{row.name}"
        self.title = f"Table {table}, row {row.name}"
        self.paper = f"Hoffer, Hubara & Soudry (2017), Table {table}"

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
        for label, key, form in (
            ("training accuracy, %", "train_accuracy", "{:.2f}"),
            ("updates", "updates", "{:,.0f}"),
            ("samples processed", "samples", "{:,.0f}"),
            ("seconds", "seconds", "{:.0f}"),
        ):
            rows.append([label, *(form.format(arm[key]) for arm in summary.values())])
        return markdown_table(["", *summary], rows)

    def verdict(self, results):
        """The demo's sentence, after the outcome.

        Reproduced is a gap between SB and LB that is clear of the noise, and closed by the last
        arm to within the noise; partly, one that the last arm makes clearly smaller.
        """
        scored = results[0]["scored"]
        gap, noise = difference(results, "SB", "LB", scored)
        left, noise_left = difference(results, "SB", "+RA", scored)
        gained, noise_gained = difference(results, "+RA", "LB", scored)
        outcome = "Not reproduced"
        if gap > noise and gained > noise_gained:
            outcome = "Reproduced" if left <= noise_left else "Partly"
        return f"{outcome}: {verdict(results, scored)}"

    def draw(self, picture, results):
        """Accuracies on the left, weight distances on the right."""
        _figure.draw(picture, results, f"{results[0]['scored']:,} samples")
