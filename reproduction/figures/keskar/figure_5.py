"""A large batch after some epochs of a small one: Keskar et al.'s Figure 5.

The figure (section 3) has the epochs at the small batch across. Up are the testing accuracy of the
small batch there and of the large one that went on from there for 100 epochs, and, below, the
sharpness where the latter ended. After a few epochs both stay as they are without. After enough of
them the accuracy rises to the small batch's, and the sharpness drops.

The paper loads the weights into a new training with Adam. Here the optimizer goes on with its
momenta (`training.warm_start`); the rate is the small batch's first until then, and the large
batch's schedule after. The updates are not matched: the small epochs bring more.

Expected from earlier trials on MNIST-1D: accuracy from five small epochs on; one or two lower the
sharpness and bring no accuracy.
"""

import time

import keras

from keras_bigbatch.training import BatchStage, fit_stages, warm_start
from reproduction import training
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.keskar import minima
from reproduction.figures.ratios import ratios
from reproduction.paired import contrast
from reproduction.plotting import means, style, tidy
from reproduction.report import cell, markdown_table
from reproduction.runs import Case
from reproduction.statistics import by_arm

SMALL_EPOCHS = (0, 1, 5, 10, 20)


class WarmStart(Experiment):
    """The small batch alone, and the large one after some epochs of the small one."""

    name = "keskar-warm-start"
    title = "A large batch, warm-started with a small one"
    paper = f"{minima.PAPER}, Figure 5"
    claim = (
        "After a few epochs at the small batch, the large batch ends as it does without them. "
        "After enough of them, it ends flatter and with good accuracy."
    )
    sources = sources_of(__file__, "minima_measures.py")

    def cases(self, setting):
        """The arm SB, and a training for each number of small epochs below the regime's."""
        minima.in_memory(setting)
        numbers = [epochs for epochs in SMALL_EPOCHS if epochs < setting.regime.epochs]
        return [_small(setting), *(_warm(setting, epochs) for epochs in numbers)]

    def table(self, results):
        """A row an arm."""
        rows = []
        for arm in by_arm(results, "seed"):
            runs = [result for result in results if result["arm"] == arm]
            rows.append(
                [
                    arm,
                    f"{runs[0]['updates']:,}",
                    cell([100 * run["small_accuracy"] for run in runs]),
                    cell([100 * run["test_accuracy"] for run in runs]),
                    minima.measured([run["sharpness"] for run in runs]),
                ]
            )
        return markdown_table(
            [
                "epochs at the small batch first",
                "updates",
                "test accuracy before the large batch, %",
                "test accuracy, %",
                "sharpness, %",
            ],
            rows,
        )

    def measures(self, results):
        """A few small epochs, and enough of them: the least and the most that were tried."""
        cold, few, *more = _warm_arms(results)
        enough = more[-1] if more else few
        return {
            "few, accuracy": contrast(results, [few], [cold]).values,
            "few, sharpness": ratios(results, "sharpness", few, cold),
            "enough, accuracy": contrast(results, [enough], [cold]).values,
            "enough, sharpness": ratios(results, "sharpness", enough, cold),
            "as good": contrast(results, [enough], ["SB"]).values,
        }

    def caveats(self, results):
        """What else is not equal, and what holds for every sharpness."""
        return (
            "The updates are not matched: the epochs at the small batch come on top of the large "
            f"batch's. {minima.caveats(results)}"
        )

    def draw(self, picture, results):
        """Accuracies on the left, the sharpness on the right."""
        left, right = picture.subplots(1, 2)
        warm = [result for result in results if result["arm"] != "SB"]
        epochs = sorted({result["small_epochs"] for result in warm})
        for number, (key, label) in enumerate(
            (
                ("small_accuracy", "the small batch until then"),
                ("test_accuracy", "the large batch, warm-started"),
            )
        ):
            means(left, epochs, _at(warm, key, epochs, 100), number, label)
        means(right, epochs, _at(warm, "sharpness", epochs), 1, "the large batch, warm-started")
        small = [result for result in results if result["arm"] == "SB"]
        for axes, key, scale in ((left, "test_accuracy", 100), (right, "sharpness", 1)):
            level = sum(scale * result[key] for result in small) / len(small)
            color = style(2)["color"]
            axes.axhline(level, color=color, linestyle="--", label="the small batch alone")
            axes.set_xlabel("epochs at the small batch")
            axes.set_title("mean ± standard deviation over the seeds", fontsize=9)
            axes.legend(frameon=False)
            tidy(axes)
        left.set_ylabel(f"accuracy, %, on {results[0]['scored']:,} test samples")
        right.set(yscale="log", ylabel="sharpness, %, box 1e-3")


def stages(regime, large_batch, small_epochs):
    """The small batch at its first rate, then the large one's plan from its beginning."""
    plan = regime.at(large_batch, rule="none", stretch=1)
    if not small_epochs:
        return [BatchStage(plan.batch, plan.epochs, plan.learning_rate)]
    return warm_start(
        regime.batch,
        plan.batch,
        small_epochs,
        plan.epochs,
        learning_rate=regime.drops[0][2],
        large_learning_rate=plan.learning_rate,
    )


def _small(setting):
    effort = minima.effort_of(setting)
    plan = setting.regime.at(setting.regime.batch, rule="none", stretch=1)
    training = setting.case("SB", plan, setting.plain, effort=effort.settings())

    def run(seed, progress):
        result = training.run(seed, progress)
        found = minima.sharpness(progress.model, setting.data, effort)
        small = {"small_epochs": plan.epochs, "small_accuracy": result["test_accuracy"]}
        return {**result, **small, "sharpness": found.value}

    return Case(training.arm, training.recipe, training.epochs, run)


def _warm(setting, small_epochs):
    effort = minima.effort_of(setting)
    parts = stages(setting.regime, setting.large_batch, small_epochs)
    data, rate = setting.data, setting.regime.drops[0][2]
    samples = sum(part.epochs for part in parts) * data.examples

    def run(seed, progress):
        keras.utils.set_random_seed(seed)
        start = time.perf_counter()
        model = setting.network(data.shape, data.classes, setting.plain)
        training.compiled(model, setting.optimizer(rate))
        weights = minima.Weights([small_epochs])
        callbacks = [weights, progress]
        fit_stages(model, data.x_train, data.y_train, parts, callbacks=callbacks, verbose=0)
        result = {
            "updates": training.updates_of(model),
            "samples": samples,
            "seconds": time.perf_counter() - start,
            **training.all_scores(model, data),
            "sharpness": minima.sharpness(model, data, effort).value,
        }
        model.set_weights(weights.kept[small_epochs])
        small = training.scores(model, data, "test")
        return {**result, "small_accuracy": small["test_accuracy"]}

    recipe = {
        "network": setting.network.__name__,
        "small_epochs": small_epochs,
        "batches": [part.batch for part in parts],
        "rate": rate,
        "drops": [list(drop) for drop in setting.regime.drops],
        "effort": effort.settings(),
    }
    epochs = sum(part.epochs for part in parts)
    return Case(f"{small_epochs} epochs", {**recipe, "epochs": epochs}, epochs, run)


def _warm_arms(results):
    return [arm for arm in by_arm(results, "seed") if arm != "SB"]


def _at(results, key, epochs, scale=1):
    """For each number of small epochs the seeds' values."""
    return [[scale * r[key] for r in results if r["small_epochs"] == each] for each in epochs]
