"""Accuracy against sharpness, over batch sizes: Keskar et al.'s Figure 4, and Tables 3 and 4.

Figure 4 (section 3) has the batch size across, and up the testing accuracy and the sharpness, in
boxes of 1e-3 and 5e-4. Tables 3 and 4 (section 2.2.2) have the sharpness at a small and a large
batch, in the full space and in a random subspace of 100 dimensions: at least ten times as large.

The paper trains with Adam, for 100 epochs at each batch. Its L-BFGS-B makes ten iterations from one
start, and batch norm takes the statistics of the batch. Here SGD keeps the small batch's rates
(the arm LB at other batches), two maximizers search, and batch norm takes its stored statistics.

Expected from earlier trials on MNIST-1D: the sharpness differs by orders of magnitude; much of it
is the scale of the weights and the level of the loss; and sharpness does not predict accuracy
(docs/instruments.md).
"""

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.keskar import minima
from reproduction.figures.ratios import ratios
from reproduction.minima_measures import EPSILON, SMALLER_EPSILON
from reproduction.paired import contrast
from reproduction.plotting import means, tidy
from reproduction.report import cell, markdown_table
from reproduction.runs import Case

BOXES = {
    "sharpness": ("full space, 1e-3", EPSILON, None),
    "sharpness_smaller_box": ("full space, 5e-4", SMALLER_EPSILON, None),
    "sharpness_subspace": ("subspace, 1e-3", EPSILON, "subspace"),
    "sharpness_subspace_smaller_box": ("subspace, 5e-4", SMALLER_EPSILON, "subspace"),
}


class Sharpness(Experiment):
    """A training a batch size, and four measures of its minimum."""

    name = "keskar-sharpness"
    title = "Accuracy and sharpness over the batch size"
    paper = f"{minima.PAPER}, Figure 4, Tables 3 and 4"
    claim = "A larger batch ends in a minimum at least ten times as sharp, and generalizes worse."
    sources = sources_of(__file__, "minima_measures.py")

    def cases(self, setting):
        """The small batch's recipe, unchanged, at each batch."""
        minima.in_memory(setting)
        return [_case(setting, batch) for batch in sorted(setting.batches)]

    def table(self, results):
        """A row a batch."""
        heading = ["batch", "updates", "test accuracy, %", "training loss"]
        heading += [f"sharpness, {label}, %" for label, *_ in BOXES.values()]
        rows = []
        for batch, runs in _by_batch(results).items():
            row = [f"{batch:,}", f"{runs[0]['updates']:,}"]
            row.append(cell([100 * run["test_accuracy"] for run in runs]))
            row += [minima.measured([run[key] for run in runs]) for key in ("train_loss", *BOXES)]
            rows.append(row)
        return markdown_table(heading, rows)

    def measures(self, results):
        """The largest batch's sharpness over the smallest's in each box, and the accuracy lost."""
        small, *_, large = (f"batch {batch}" for batch in _by_batch(results))
        return {
            **{key: ratios(results, key, large, small) for key in BOXES},
            "accuracy": contrast(results, [small], [large]).values,
        }

    def caveats(self, results):
        """Of every sharpness."""
        return minima.caveats(results)

    def draw(self, picture, results):
        """Accuracy on the left, the sharpness in each box on the right."""
        left, right = picture.subplots(1, 2)
        groups = _by_batch(results)
        batches = list(groups)
        accuracies = [[100 * run["test_accuracy"] for run in runs] for runs in groups.values()]
        means(left, batches, accuracies)
        left.set_ylabel(f"accuracy, %, on {results[0]['scored']:,} test samples")
        for number, (key, (label, *_)) in enumerate(BOXES.items()):
            values = [[run[key] for run in runs] for runs in groups.values()]
            means(right, batches, values, number, label)
        right.set(yscale="log", ylabel="sharpness, %")
        right.legend(frameon=False)
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xticks(batches, map(str, batches))
            axes.minorticks_off()
            axes.set_xlabel("batch size, samples")
            axes.set_title("mean ± standard deviation over the seeds", fontsize=9)
            tidy(axes)


def _case(setting, batch):
    effort = minima.effort_of(setting)
    plan = setting.regime.at(batch, rule="none", stretch=1)
    training = setting.case(f"batch {batch}", plan, setting.plain, effort=effort.settings())

    def run(seed, progress):
        result = training.run(seed, progress)
        for key, (_, epsilon, space) in BOXES.items():
            dimension = effort.subspace if space else None
            found = minima.sharpness(
                progress.model, setting.data, effort, epsilon, subspace=dimension
            )
            result[key] = found.value
        return result

    return Case(training.arm, training.recipe, training.epochs, run)


def _by_batch(results):
    """The trainings by batch, the smallest first."""
    groups = {}
    for result in sorted(results, key=lambda result: (result["batch"], result["seed"])):
        groups.setdefault(result["batch"], []).append(result)
    return groups
