"""Figure 1 of Gao & Zhong: accuracy against batch size (section 1).

The paper trains AlexNet on CIFAR-10 at batches of 32 to 49152 and shows that the accuracy falls. It
does not say at which rates. So each batch trains twice here: at the rate of the regime unchanged,
and at that rate times the square root of the ratio of the batches; for half of the regime's epochs.

Expected: the accuracy falls with the batch at either rate, and less at the square-root rate.
"""

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.statistics import shown
from reproduction.figures.gao_zhong.trainings import batches_of, plan_of
from reproduction.paired import contrast
from reproduction.plotting import means, tidy
from reproduction.report import markdown_table
from reproduction.statistics import by_arm, unfitted

RULES = {"none": "unchanged rate", "sqrt": "square-root rate"}


class Figure1(Experiment):
    """Two trainings a batch, but one of the batch that the regime is for."""

    name = "gao-1"
    title = "Accuracy against batch size"
    paper = "Gao & Zhong, Figure 1"
    claim = "Large batches make the training worse."
    sources = sources_of(__file__)

    def cases(self, setting):
        """An arm is a rule and a batch."""
        small = setting.regime.batch
        return [
            setting.case(_arm(rule, batch), plan_of(setting, batch, rule), setting.plain, rule=rule)
            for rule in RULES
            for batch in sorted({small, *batches_of(setting)})
            if rule == "none" or batch != small
        ]

    def table(self, results):
        """A row a batch."""
        accuracies, fits = by_arm(results, "test_accuracy"), by_arm(results, "train_accuracy")
        updates = {r["batch"]: (r["epochs"], r["updates"]) for r in results}
        rows = []
        for batch in sorted(updates):
            arms = [_arm(rule, batch) for rule in RULES]
            rows.append(
                [
                    f"{batch:,}",
                    f"{updates[batch][0]} / {updates[batch][1]:,}",
                    *(_percent(accuracies, arm) for arm in arms),
                    *(_percent(fits, arm) for arm in arms),
                ]
            )
        heads = [f"{part} %, {rule}" for part in ("test", "training") for rule in RULES.values()]
        return markdown_table(["batch", "epochs / updates", *heads], rows)

    def measures(self, results):
        """What the largest batch loses against the regime's, at each rate."""
        small, large = _small(results), max(r["batch"] for r in results)
        return {
            name: contrast(results, [_arm("none", small)], [_arm(rule, large)]).values
            for rule, name in RULES.items()
        }

    def caveats(self, results):
        """A batch that does not fit the training set is only under-trained."""
        return unfitted(results)

    def draw(self, picture, results):
        """Test accuracy on the left, training accuracy on the right."""
        for axes, part in zip(picture.subplots(1, 2), ("test", "train"), strict=True):
            accuracies = by_arm(results, f"{part}_accuracy")
            batches = sorted({r["batch"] for r in results})
            for number, (rule, label) in enumerate(RULES.items()):
                values = [_of(accuracies, _arm(rule, batch)) for batch in batches]
                means(axes, batches, [[100 * v for v in each] for each in values], number, label)
            axes.set(xscale="log", xlabel="batch, samples")
            axes.set_ylabel(f"{'test' if part == 'test' else 'training'} accuracy, %")
            axes.legend(frameon=False)
            tidy(axes)


def _arm(rule, batch):
    return f"{'same' if rule == 'none' else rule} rate, {batch}"


def _small(results):
    """The regime's batch is the one that has no training at the other rate."""
    scaled = {r["batch"] for r in results if r["rule"] == "sqrt"}
    return next(r["batch"] for r in results if r["batch"] not in scaled)


def _of(values, arm):
    """The seeds' values; at the regime's batch both rules are the same training."""
    return values[arm if arm in values else arm.replace("sqrt", "same")]


def _percent(values, arm):
    return shown([100 * value for value in _of(values, arm)])
