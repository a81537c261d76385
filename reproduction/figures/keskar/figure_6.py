"""Sharpness against the loss along a training: Keskar et al.'s Figure 6.

The figure (section 3) has the cross-entropy across and the sharpness up, a curve a batch. Near the
start both are as sharp. As the loss falls, the large batch gets sharper; the small one stays as
sharp at first and then gets flatter. The same section has how far from the start the two end.

The paper does not say at which iterates it measured. Here it is the start and some epochs, spaced
by a factor. Batch norm takes the statistics of the measured batch, as in the authors' code: the
stored ones lag behind in the first epochs, of which the large batch has few updates.

Expected from earlier trials on MNIST-1D, which measured the ends only: far apart.
"""

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.keskar import minima
from reproduction.figures.ratios import ratio
from reproduction.plotting import style, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case, six_digits
from reproduction.statistics import by_arm

SPACES = 5  # between the first epoch and the last


class Training(Experiment):
    """The arms SB and LB, measured at a few epochs."""

    name = "keskar-training"
    title = "Sharpness against the loss along the training"
    paper = f"{minima.PAPER}, Figure 6 and section 3"
    claim = (
        "As the loss falls, a large batch moves to sharper regions. A small batch moves to flatter "
        "ones in the end, and travels 3 to 10 times as far."
    )
    sources = sources_of(__file__, "minima_measures.py")

    def cases(self, setting):
        """A training a batch."""
        minima.in_memory(setting)
        return [
            _case(setting, "SB", setting.regime.batch),
            _case(setting, "LB", setting.large_batch),
        ]

    def table(self, results):
        """A row an epoch that was measured."""
        arms = {arm: [r for r in results if r["arm"] == arm] for arm in ("SB", "LB")}
        rows = []
        for place, epoch in enumerate(results[0]["measured_at"]):
            row = [f"{epoch}"]
            for runs in arms.values():
                for key in ("losses", "sharpness"):
                    row.append(minima.measured([run[key][place] for run in runs]))
            rows.append(row)
        heading = ["epoch"]
        for arm in arms:
            heading += [f"{arm}: training loss", f"{arm}: sharpness, %"]
        return markdown_table(heading, rows)

    def measures(self, results):
        """The ends' sharpness over that of beginnings, and how far from the start they lie."""
        sharpness, distances = (by_arm(results, key) for key in ("sharpness", "weight_distance"))
        large, small = (list(zip(*sharpness[arm], strict=True)) for arm in ("LB", "SB"))
        far = [
            ratio(*(each["distance"][-1] for each in pair))
            for pair in zip(distances["SB"], distances["LB"], strict=True)
        ]
        return {
            "large, from the start": list(map(ratio, large[-1], large[0])),
            "large, from the first epoch": list(map(ratio, large[-1], large[1])),
            "small, from the first epoch": list(map(ratio, small[-1], small[1])),
            "large over small": list(map(ratio, large[-1], small[-1])),
            "farther": far,
            "distance": far,
        }

    def caveats(self, results):
        """Of every sharpness."""
        return minima.caveats(results)

    def draw(self, picture, results):
        """Sharpness over the loss on the left, over the epochs on the right; a line a seed."""
        left, right = picture.subplots(1, 2)
        for number, arm in enumerate(("SB", "LB")):
            look = {**style(number), "markersize": 4, "linewidth": 1, "alpha": 0.8}
            for place, run in enumerate(r for r in results if r["arm"] == arm):
                label = f"{arm}, batch {run['batch']:,}" if place == 0 else None
                left.plot(run["losses"], run["sharpness"], label=label, **look)
                right.plot(run["measured_at"], run["sharpness"], label=label, **look)
        left.set_xscale("log")
        left.invert_xaxis()
        left.set_xlabel("training loss (the training goes to the right)")
        right.set_xscale("symlog", linthresh=1)
        right.set_xlabel("epoch")
        for axes in (left, right):
            axes.set(yscale="log", ylabel="sharpness, %, box 1e-3, batch statistics")
            axes.set_title("a line a seed", fontsize=9)
            axes.legend(frameon=False)
            tidy(axes)


def epochs_to_measure(epochs):
    """The start, and epochs from the first to the last that grow by a factor."""
    return sorted({0, *(round(epochs ** (i / SPACES)) for i in range(SPACES + 1))})


def _case(setting, arm, batch):
    effort = minima.effort_of(setting)
    epochs = epochs_to_measure(setting.regime.epochs)
    plan = setting.regime.at(batch, rule="none", stretch=1)
    training = setting.case(arm, plan, setting.plain, measured_at=epochs, effort=effort.settings())

    def run(seed, progress):
        weights = minima.Weights(epochs)
        result = training.run(seed, [weights, progress])
        found = []
        for epoch in epochs:
            progress.model.set_weights(weights.kept[epoch])
            found.append(minima.sharpness(progress.model, setting.data, effort, mode="training"))
        return {
            **result,
            "losses": [six_digits(each.loss) for each in found],
            "sharpness": [six_digits(each.value) for each in found],
        }

    return Case(training.arm, training.recipe, training.epochs, run)
