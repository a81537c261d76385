"""Figure 4 of Gao & Zhong: the parameter stride of the first epoch, against batch size (2.2).

The paper's normalized stride is `E(abs(dw)) / lr(n)`, equation 6, for an AlexNet layer; it falls
with the square root of the batch if the gradient does. Here it is the mean over all weights of a
network and over the updates of the epoch; and, since a large batch has fewer updates, their sum.

Expected: per update it falls, with an exponent of about -0.3 and not -0.5.
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

PREDICTED = -0.5


class Figure4(Experiment):
    """First epochs of plain SGD."""

    name = "gao-4"
    title = "Parameter stride of the first epoch against batch size"
    paper = "Gao & Zhong, Figure 4 and equation 6"
    claim = "The step, divided by the rate, falls as 1 / sqrt(batch)."
    sources = sources_of(__file__)

    def cases(self, setting):
        """One a batch."""
        return first_epoch.cases(setting)

    def table(self, results):
        """A row a batch, and the fitted exponents."""
        rows = []
        for batch in batches_in(results):
            mine = [r for r in results if r["batch"] == batch]
            updates = mine[0]["updates"]
            strides = [_stride(r, False) for r in mine]
            of_epoch = [_stride(r, True) for r in mine]
            cells = [shown(values, "{:.3g}") for values in (strides, of_epoch)]
            rows.append([f"{batch:,}", f"{updates:,}", *cells])
        fits = [shown(_exponents(results, epoch), "{:+.3f}") for epoch in (False, True)]
        rows.append(["exponent", "", *fits])
        heads = ["mean of abs(dw) / rate, per update", "sum over the epoch"]
        return markdown_table(["batch", "updates", *heads], rows)

    def measures(self, results):
        """The power of an update's stride; that of the epoch's sum is less by 1."""
        powers = _exponents(results, False)
        return {"falls": powers, "power": powers}

    def draw(self, picture, results):
        """An update's on the left, the epoch's on the right."""
        batches = batches_in(results)
        for axes, epoch in zip(picture.subplots(1, 2), (False, True), strict=True):
            values = [
                [_stride(r, epoch) for r in results if r["batch"] == batch] for batch in batches
            ]
            means(axes, *finite(batches, values), 2)
            predicted = PREDICTED - epoch
            line = [
                sum(values[0]) / len(values[0]) * (b / batches[0]) ** predicted for b in batches
            ]
            axes.plot(batches, line, "--", color="0.6", label=f"batch to the power {predicted:g}")
            axes.set(xscale="log", yscale="log", xlabel="batch, samples")
            axes.set_ylabel("mean of abs(dw) / rate")
            axes.set_title("summed over the first epoch" if epoch else "an update", fontsize=9)
            axes.legend(frameon=False)
            tidy(axes)


def _stride(result, epoch):
    return number(result["parameter_stride"]) * (result["updates"] if epoch else 1)


def _exponents(results, epoch):
    """By seed, of the stride of an update or of the epoch."""
    return [
        exponent([r["batch"] for r in mine], [_stride(r, epoch) for r in mine])
        for mine in by_seed(results)
    ]
