"""How much stretch is enough? Our own question, which Hoffer, Hubara & Soudry (2017) leave open.

Their regime adaptation (section 5) multiplies the epochs by the ratio of the batches, so that the
large batch makes as many updates as the small one, and processes that many times its samples. They
show no stretch in between. Here is the accuracy over the samples processed, from a stretch of 1 to
the ratio, for

    +LR                 the square-root rate, plain batch normalization
    +GBN                and the demo's ghost batches, of 8 samples
    +GBN, ghosts of 40  and the paper's, as large as the small batch

The controls are the small batch itself, plain and with the demo's ghosts, at the shorter stretches:
the recipe at stretch 1 is short, 40 epochs, for only then is there something to gain, and what a
longer recipe or the ghosts bring the small batch is no gap that the large one has closed.
Stretches are the powers of two up to half of the ratio, and the ratio itself.

Expected: with ghosts of 8 a stretch of 4 brings most of the gain of 25; without ghosts even 25 does
not reach the small batch. Beside a small batch with ghosts of 8 a part of the gap is left.
"""

from statistics import fmean

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.paired import contrast
from reproduction.plotting import means, tidy
from reproduction.recipes.demo import small_batch_regime
from reproduction.report import cell, markdown_table
from reproduction.statistics import by_arm, unfitted
from reproduction.training import ghost_norm

EPOCHS = 40
SMALL, GHOSTS = "SB", "+GBN"  # the control, and the series of the paper's claim
CONTROL_STRETCHES = (1, 2, 4)
ENOUGH = 4  # the stretch that is to do as much as the ratio


def stretches(ratio):
    """The powers of two up to half of the ratio of the batches, and the ratio.

    Args:
        ratio: The large batch over the small one.
    """
    if ratio <= 1:
        raise ValueError(
            "The large batch must be larger than the recipe's own. Received: a ratio of "
            f"{ratio:g}. Pass a data set whose recipe has a larger batch."
        )
    powers = [1]
    while 2 * powers[-1] <= ratio / 2:
        powers.append(2 * powers[-1])
    return [*powers, ratio]


def with_ghosts(series, size):
    """As in "SB, ghosts of 8"."""
    return f"{series}, ghosts of {size}"


def arm_name(series, stretch):
    """As in "+GBN, stretch 4"."""
    return f"{series}, stretch {stretch:g}"


def stretches_of(results, series):
    """The stretches of a series, rising."""
    return sorted({each["stretch"] for each in results if each["series"] == series})


class Stretch(Experiment):
    """One short recipe, stretched more and more, with and without ghosts."""

    name = "stretch"
    title = "How much stretch is enough"
    paper = "Our own question, on Hoffer, Hubara & Soudry (2017), section 5"
    claim = "The paper stretches the epochs by the ratio of the batches. Would less be enough?"
    sources = sources_of(__file__, "figures/hoffer/short_histories.py")

    def cases(self, setting):
        """The small batch, plain and with ghosts; then a training a series and stretch."""
        regime, small = setting.regime, setting.regime.batch
        rate = next(iter(regime.learning_rate.values()))
        base = small_batch_regime(small, min(EPOCHS, regime.epochs), regime.examples, rate)
        controls = {SMALL: setting.plain, with_ghosts(SMALL, setting.virtual_batch): setting.ghost}
        series = {
            "+LR": setting.plain,
            GHOSTS: setting.ghost,
            with_ghosts(GHOSTS, small): ghost_norm(small),
        }
        ratio = setting.large_batch / small
        plans = (
            (small, controls, [each for each in CONTROL_STRETCHES if each <= ratio]),
            (setting.large_batch, series, stretches(ratio)),
        )
        return [
            shortened(
                setting.case(
                    arm_name(name, stretch),
                    base.at(batch, stretch=stretch),
                    norm,
                    series=name,
                    stretch=stretch,
                )
            )
            for batch, norms, lengths in plans
            for name, norm in norms.items()
            for stretch in lengths
        ]

    def table(self, results):
        """A row a series and stretch: cost and accuracy."""
        by = {
            key: by_arm(results, key)
            for key in ("series", "stretch", "updates", "samples", "test_accuracy", "seconds")
        }
        rows = [
            [
                by["series"][arm][0],
                f"{by['stretch'][arm][0]:g}",
                f"{by['updates'][arm][0]:,}",
                f"{by['samples'][arm][0]:,}",
                cell([100 * value for value in by["test_accuracy"][arm]]),
                cell(by["seconds"][arm], "{:.1f}"),
            ]
            for arm in by["series"]
        ]
        heading = ["arm", "stretch", "updates", "samples processed", "test accuracy, %"]
        return markdown_table([*heading, "seconds"], rows)

    def measures(self, results):
        """What the ratio gains, how far that is from the small batch, and stretch 4 from it.

        The control is the small batch with the demo's ghosts too: if these are better for it as
        well, they have not closed a gap between the batches.
        """
        longest = arm_name(GHOSTS, stretches_of(results, GHOSTS)[-1])
        small = [each["series"] for each in results if each["series"].startswith(SMALL)]
        pairs = {
            "gain": (longest, arm_name(GHOSTS, 1)),
            "level": (longest, arm_name(SMALL, 1)),
            "control": (longest, arm_name(max(small), 1)),  # of both names the longer one
            "enough": (arm_name(GHOSTS, ENOUGH), longest),
        }
        return {name: contrast(results, [a], [b]).values for name, (a, b) in pairs.items()}

    def caveats(self, results):
        """An arm that does not fit the training set is under-trained."""
        return unfitted(results)

    def draw(self, picture, results):
        """Accuracy over the samples processed, a line a series; the small batch across."""
        axes = picture.subplots()
        tests, samples = by_arm(results, "test_accuracy"), by_arm(results, "samples")
        for number, series in enumerate(dict.fromkeys(each["series"] for each in results)):
            arms = [arm_name(series, stretch) for stretch in stretches_of(results, series)]
            accuracies = [[100 * value for value in tests[arm]] for arm in arms]
            means(axes, [samples[arm][0] for arm in arms], accuracies, number + 1, series)
        small = 100 * fmean(tests[arm_name(SMALL, 1)])
        axes.axhline(small, color="0.4", linewidth=1, label="SB, stretch 1")
        axes.set(xscale="log", xlabel="samples processed", ylabel="test accuracy, %")
        axes.set_title("mean ± standard deviation; a marker a stretch, from 1 on", fontsize=9)
        axes.legend(frameon=False)
        tidy(axes)
