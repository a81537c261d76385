"""Figure 7 of Gao & Zhong: the loss stride of the first epoch, against batch size (section 2.3).

The paper's stride is `E(dL) / lr(n) = E(g ** 2)`, equations 7 and 8, which falls with the batch.
That is, to first order, the fall of the loss of the very batch that the step was made with: the
part of it that is noise is lost again on other data. So both are measured here, as differences of
losses: on the batch just fitted, and on the whole training set.

Expected: on the batch just fitted the stride of an update falls with the batch, more slowly than
1 / n; on the whole training set it rises.
"""

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong import first_epoch
from reproduction.figures.gao_zhong.statistics import (
    batches_in,
    by_seed,
    exponent,
    finite,
    number,
    shown,
)
from reproduction.plotting import means, tidy
from reproduction.report import markdown_table

PREDICTED = -1.0
KINDS = {"own_loss_stride": "the batch just fitted", "whole_loss_stride": "the whole training set"}


class Figure7(Experiment):
    """First epochs of plain SGD, the same as for Figure 4."""

    name = "gao-7"
    title = "Loss stride of the first epoch against batch size"
    paper = "Gao & Zhong, Figure 7 and equation 8"
    claim = "The fall of the loss in an update, divided by the rate, decreases as 1 / batch."
    sources = sources_of(__file__)

    def cases(self, setting):
        """One a batch."""
        return first_epoch.cases(setting)

    def table(self, results):
        """A row a batch, and the fitted exponents."""
        rows = []
        for batch in batches_in(results):
            mine = [r for r in results if r["batch"] == batch]
            cells = [shown([number(r[kind]) for r in mine], "{:.3g}") for kind in KINDS]
            rows.append([f"{batch:,}", f"{mine[0]['updates']:,}", *cells])
        fits = [shown(_exponents(results, kind), "{:+.3f}") for kind in KINDS]
        rows.append(["exponent", "", *fits])
        heads = [f"loss stride / rate, {name}" for name in KINDS.values()]
        return markdown_table(["batch", "updates", *heads], rows)

    def measures(self, results):
        """The powers of both kinds; that of the whole training set is none if its loss rises."""
        own, whole = (_exponents(results, kind) for kind in KINDS)
        return {"falls": own, "own": own, "whole": whole}

    def draw(self, picture, results):
        """The two kinds side by side."""
        batches = batches_in(results)
        for place, (kind, name) in enumerate(KINDS.items()):
            axes = picture.add_subplot(1, 2, place + 1)
            values = [
                [number(r[kind]) for r in results if r["batch"] == batch] for batch in batches
            ]
            means(axes, *finite(batches, values), place + 1)
            axes.set_xscale("log")
            if all(value > 0 for each in values for value in each):
                axes.set_yscale("log")
                start = sum(values[0]) / len(values[0])
                line = [start * (batch / batches[0]) ** PREDICTED for batch in batches]
                axes.plot(batches, line, "--", color="0.6", label="1 / batch")
                axes.legend(frameon=False)
            axes.set(xlabel="batch, samples", ylabel="fall of the loss in an update / rate")
            axes.set_title(f"on {name}", fontsize=9)
            tidy(axes)


def _exponents(results, kind):
    return [
        exponent([r["batch"] for r in mine], [r[kind] for r in mine]) for mine in by_seed(results)
    ]
