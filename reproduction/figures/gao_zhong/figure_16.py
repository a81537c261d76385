"""Figure 16 of Gao & Zhong: MCLR against LARS, and SGD beside them (section 4.2).

The paper trains ResNet-18 on CIFAR-10 at a batch of 1024 and finds the difference of the training
accuracies negligible. It gives no rates. Here each rate is the best of five on 1000 held-out
training samples of MNIST-1D. The trainings are those of the remedies (docs/evidence/remedies.md),
with their warm-up, cosine decay, clipping, weight decay of 1e-4 (not for SGD) and at most their 100
epochs. Neither rates nor epochs were chosen for other data or batches. MCLR takes medians of
absolute values; the paper's equation 20, of signed ones, is noise. The test accuracy, which the
paper does not show, is beside.

Expected: both fit the training set; both end above SGD on the test set.
"""

import dataclasses

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.statistics import gains, number, shown
from reproduction.plotting import curves, style, tidy
from reproduction.remedies.arms import Arm
from reproduction.report import markdown_table
from reproduction.runs import six_digits
from reproduction.statistics import by_arm, unfitted

RATES = {"SGD": 0.5, "LARS": 0.1, "MCLR": 0.05}
MOST_EPOCHS = 100
WHOLE = 0.9995  # from here on training accuracies cannot differ: all there is has been fitted


class Figure16(Experiment):
    """A training an optimizer."""

    name = "gao-16"
    title = "MCLR against LARS"
    paper = "Gao & Zhong, Figure 16"
    claim = "Median-curvature rates train as well as LARS at a batch of about 1000."
    sources = sources_of(
        __file__, "remedies/arms.py", "remedies/layerwise.py", "repeated_training.py"
    )

    def cases(self, setting):
        """At the large batch."""
        return [_case(setting, name, rate) for name, rate in RATES.items()]

    def table(self, results):
        """A row an optimizer."""
        rows = []
        for arm, rate in RATES.items():
            mine = [r for r in results if r["arm"] == arm]
            fits, tests = ([100 * r[f"{p}_accuracy"] for r in mine] for p in ("train", "test"))
            length = f"{mine[0]['epochs']} / {mine[0]['updates']:,}"
            losses = shown([number(r["train_loss"]) for r in mine], "{:.3g}")
            rows.append([arm, f"{rate:g}", length, losses, shown(fits), shown(tests)])
        heads = ["training loss", "training accuracy, %", "test accuracy, %"]
        return markdown_table(["", "rate", "epochs / updates", *heads], rows)

    def measures(self, results):
        """How much higher MCLR's training accuracy is than LARS's."""
        return {"training accuracy": gains(results, "train_accuracy", "MCLR", "LARS")}

    def blind(self, results):
        """Where SGD fits the whole training set too, no difference can be seen."""
        if all(number(result["train_accuracy"]) >= WHOLE for result in results):
            return (
                "every optimizer reaches a training accuracy of 100 %, plain SGD too. An optimizer "
                "that trains worse than LARS shows only where not all of them fit the training set"
            )
        return ""

    def caveats(self, results):
        """Which optimizers do not fit the training set."""
        return unfitted(results)

    def draw(self, picture, results):
        """Training accuracy along the training, and test accuracy at its end."""
        left, right = picture.subplots(1, 2, width_ratios=(1.6, 1))
        trained, tests = by_arm(results, "accuracies"), by_arm(results, "test_accuracy")
        for place, arm in enumerate(RATES):
            seeds = [[100 * number(v) for v in curve] for curve in trained[arm]]
            curves(left, list(range(1, len(seeds[0]) + 1)), seeds, place, f"{arm}, {RATES[arm]:g}")
            look = {**style(place), "linestyle": "none"}
            right.plot([place] * len(tests[arm]), [100 * v for v in tests[arm]], **look)
        left.set(xlabel="epochs", ylabel="training accuracy, %")
        left.legend(frameon=False)
        right.set_xticks(range(len(RATES)), list(RATES))
        right.set_xlim(-0.6, len(RATES) - 0.4)
        right.set_ylabel("test accuracy, %, each seed")
        for axes in (left, right):
            tidy(axes)


def _case(setting, name, rate):
    arm = Arm(name, "" if name == "SGD" else name, setting.large_batch)
    case = arm.case(setting.data, (rate, 0.0), min(MOST_EPOCHS, setting.regime.epochs))

    def run(seed, progress):
        result = case.run(seed, progress)
        curve = progress.model.history.history["accuracy"]
        return {**result, "accuracies": [six_digits(value) for value in curve]}

    return dataclasses.replace(case, run=run)
