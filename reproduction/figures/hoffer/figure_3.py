"""Hoffer, Hubara & Soudry (2017), Figures 3 and 5 (section 5, appendix): regimes compared.

The paper shows validation error along the training: in Figure 3 the small batch beside the large
one with the adapted regime, in Figure 5 the adapted regime beside a batch of 2048 without any
adaptation. Adapted means stretched by the ratio of the batches, so that the updates are as many.
Here the stretch is the setting's, by default 3 in place of 25 (`--stretch 25` is the paper's), and
the test accuracy is measured at the end only; along the training there is that of the training.

To be expected: the adapted regime is within half a point of the small batch. But of the recovered
points ghost batch normalization has most already at equal epochs, so that the longer regime adds
little to it.
"""

from reproduction.demo import five_arms
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.paired import contrast
from reproduction.plotting import curves, means, tidy
from reproduction.report import markdown_table, with_deviation
from reproduction.statistics import by_arm, summarise, unfitted
from reproduction.tables import stretched

ARMS = {
    "SB": "small batch",
    "LB": "large batch, recipe unchanged",
    "+GBN": "square-root rate and ghosts",
    "+RA": "and regime adapted",
}


class RegimesCompared(Experiment):
    """The small batch, and the large one in three regimes."""

    name = "hoffer-3"
    title = "Figures 3 and 5: regimes of the large batch"
    paper = "Hoffer, Hubara & Soudry (2017), Figures 3 and 5"
    claim = "With an adapted regime, the large batch is as accurate as the small one."
    sources = sources_of(__file__, "demo.py")

    def cases(self, setting):
        """Four of the five arms of a table's row."""
        arms = five_arms(
            setting.regime, setting.large_batch, setting.virtual_batch, setting.stretch
        )
        return [
            shortened(setting.case(name, arms[name].plan, arms[name].norm, label=label))
            for name, label in ARMS.items()
        ]

    def table(self, results):
        """A row a regime."""
        batches, losses = by_arm(results, "batch"), by_arm(results, "train_loss")
        rows = [
            [
                f"{name} ({ARMS[name]})",
                f"{batches[name][0]:,}",
                f"{arm['updates']:,.0f}",
                f"{arm['samples']:,.0f}",
                f"{sum(losses[name]) / len(losses[name]):.4f}",
                f"{arm['train_accuracy']:.2f}",
                with_deviation(arm),
                f"{arm['seconds']:.0f}",
            ]
            for name, arm in summarise(results).items()
        ]
        heading = ["regime", "batch", "updates", "samples processed", "training loss"]
        return markdown_table(
            [*heading, "training accuracy, %", "test accuracy, %", "seconds"], rows
        )

    def measures(self, results):
        """The gap, and the adapted regime over the unchanged one, SB and fewer updates.

        Figure 5 has it beside the unchanged one, Figure 3 beside the small batch. By the paper's
        section 5 it is the updates that do it: so it is to be above the same rate and ghosts with
        fewer of them.
        """
        pairs = {
            "gap": ("SB", "LB"),
            "gain": ("+RA", "LB"),
            "level": ("+RA", "SB"),
            "updates": ("+RA", "+GBN"),
        }
        return {name: contrast(results, [a], [b]).values for name, (a, b) in pairs.items()}

    def caveats(self, results):
        """The stretch, which is not the paper's by default, and arms that are under-trained."""
        return f"{stretched(results)} {unfitted(results)}".rstrip()

    def draw(self, picture, results):
        """Training loss and error over the updates, and test accuracy at the end."""
        loss, error, accuracy = picture.subplots(1, 3)
        updates = by_arm(results, "updates")
        epochs = by_arm(results, "epochs")
        for number, (arm, seeds) in enumerate(by_arm(results, "curve").items()):
            steps = updates[arm][0] / epochs[arm][0]
            places = [epoch * steps for epoch in seeds[0]["epoch"]]
            curves(loss, places, [curve["loss"] for curve in seeds], number, ARMS[arm])
            errors = [[100 * (1 - value) for value in curve["accuracy"]] for curve in seeds]
            curves(error, places, errors, number, arm)
        loss.set(xscale="log", yscale="log", xlabel="optimizer updates", ylabel="training loss")
        loss.legend(frameon=False, fontsize=7)
        error.set(xscale="log", yscale="symlog", xlabel="optimizer updates")
        error.set(ylabel="training error, %", ylim=(0, None))
        tests = by_arm(results, "test_accuracy")
        for number, values in enumerate(tests.values()):
            means(accuracy, [number], [[100 * value for value in values]], number)
        accuracy.set_xticks(range(len(tests)), list(tests))
        accuracy.set(ylabel="test accuracy at the end, %", xlim=(-0.5, len(tests) - 0.5))
        for axes, title in (
            (loss, "mean over the seeds, and their range"),
            (error, "in training mode"),
            (accuracy, "mean ± standard deviation"),
        ):
            axes.set_title(title, fontsize=9)
            tidy(axes)
