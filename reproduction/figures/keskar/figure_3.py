"""The loss on the line from a small batch's minimum to a large one's: Keskar et al.'s Figure 3.

The figure (section 2.2.1) has the place on the line across, from -1 to 2 in 25 points, and up the
cross-entropy and the accuracy, over training and test set. The large batch's end is the narrower.

The authors' batch norm took the statistics of each batch. Here a point between has those that
`minima_measures.between` gives it: mixed like the weights, which shows walls that need not be
there, or estimated anew; and 25 points from -0.5 to 1.5. In such a network a minimum looks
narrower on the line if its weights are smaller, and a large batch's are.

Expected from earlier trials on MNIST-1D: narrower by far at the large batch, and a wall between.
"""

import time

import keras
import numpy as np

from keras_bigbatch import diagnostics
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.keskar import minima
from reproduction.minima_measures import BATCH, barrier, between, plain_network
from reproduction.plotting import curves, tidy
from reproduction.report import cell, markdown_table
from reproduction.runs import Case, six_digits
from reproduction.statistics import unfitted

REACH = 0.25  # of the line: how far on either side of an end its width is looked at
STATISTICS = ("interpolated", "estimated")
ENDS = {"small": 0.0, "large": 1.0}


class Path(Experiment):
    """One case a seed: both trainings, and the line between their ends."""

    name = "keskar-path"
    title = "The loss on the line from a small to a large batch's minimum"
    paper = f"{minima.PAPER}, Figure 3"
    claim = "On the line between the two minima, the large batch's is strikingly narrower."
    sources = sources_of(__file__, "minima_measures.py")

    def cases(self, setting):
        """The arms SB and LB, and what lies between."""
        minima.in_memory(setting)
        effort = minima.effort_of(setting)
        regime = setting.regime
        plans = {
            "small": regime.at(regime.batch, rule="none", stretch=1),
            "large": regime.at(setting.large_batch, rule="none", stretch=1),
        }
        trainings = {end: setting.case(end, plan, setting.plain) for end, plan in plans.items()}

        def run(seed, progress):
            began, ends, weights = time.perf_counter(), {}, {}
            for end, training in trainings.items():
                ends[end] = _without_curves(training.run(seed, progress))
                weights[end] = progress.model.get_weights()
            path = along(weights["small"], weights["large"], setting.data, effort)
            # The worse of the two says whether both were fitted.
            fitted = min(result["train_accuracy"] for result in ends.values())
            seconds = time.perf_counter() - began
            return {"seconds": seconds, "train_accuracy": fitted, "ends": ends, "path": path}

        recipe = {end: training.recipe for end, training in trainings.items()}
        recipe["effort"] = effort.settings()
        return [Case("SB to LB", recipe, regime.epochs, run)]

    def table(self, results):
        """A column an end, a row a measure."""
        rows = [["batch", *(f"{results[0][end]['batch']:,}" for end in ENDS)]]
        for label, key, scale in (
            ("training loss", "train_loss", 1),
            ("training accuracy, %", "train_accuracy", 100),
            ("test accuracy, %", "test_accuracy", 100),
        ):
            form = "{:.4f}" if scale == 1 else "{:.2f}"
            values = [[scale * result["ends"][end][key] for result in results] for end in ENDS]
            rows.append([label, *(cell(each, form) for each in values)])
        for how in STATISTICS:
            values = [[rise(result["path"], how, end) for result in results] for end in ENDS]
            label = f"rise of the loss at {REACH} from the minimum, {how} statistics"
            rows.append([label, *(cell(each, "{:.3g}") for each in values)])
        walls = (
            f"{cell([barrier(result['path'], how) for result in results])} ({how})"
            for how in STATISTICS
        )
        text = markdown_table(["", "small batch's minimum", "large batch's minimum"], rows)
        return (
            f"{text}\n\nHeight of the barrier between them, above the higher end: "
            f"{', '.join(walls)}."
        )

    def measures(self, results):
        """How much more the loss rises around the large batch's end, by each of both statistics."""
        paths = [result["path"] for result in sorted(results, key=lambda each: each["seed"])]
        return {
            how: [rise(path, how, "large") - rise(path, how, "small") for path in paths]
            for how in STATISTICS
        }

    def caveats(self, results):
        """An end that does not fit the training set is no minimum."""
        return unfitted(results)

    def draw(self, picture, results):
        """Losses on the left, accuracies on the right."""
        left, right = picture.subplots(1, 2)
        paths = [result["path"] for result in results]
        alphas = paths[0]["alphas"]
        for number, how in enumerate(STATISTICS):
            curves(left, alphas, [path[how] for path in paths], number, f"{how} statistics")
        for number, (key, label) in enumerate(
            (("train_accuracy", "training set"), ("test_accuracy", "test set"))
        ):
            percent = [[100 * value for value in path[key]] for path in paths]
            curves(right, alphas, percent, number, label)
        left.set(yscale="log", ylabel="training loss")
        right.set_ylabel("accuracy, %, interpolated statistics")
        for axes in (left, right):
            for place in ENDS.values():
                axes.axvline(place, color="0.6", linewidth=0.8, linestyle=":")
            axes.set_xlabel("place on the line: 0 small batch, 1 large batch")
            axes.set_title("mean and range of the seeds", fontsize=9)
            axes.legend(frameon=False)
            tidy(axes)


def along(first, second, data, effort):
    """The losses that `minima.py` measures, and the accuracies beside them."""
    path = between(first, second, data, effort)
    result = {key: [six_digits(value) for value in values] for key, values in path.items()}
    model = plain_network(data)
    model.compile("sgd", _error)
    for part, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        errors = diagnostics.linear_path(
            model, first, second, x, y, path["alphas"], batch_size=BATCH
        )
        result[f"{part}_accuracy"] = [six_digits(1 - loss) for loss in errors.loss]
    return result


def rise(path, statistics, end):
    """How much the loss is higher, on the mean of both sides, at `REACH` from an end."""
    place = ENDS[end]
    before, there, after = np.interp(
        [place - REACH, place, place + REACH], path["alphas"], path[statistics]
    )
    return float((before + after) / 2 - there)


def _error(y, outputs):
    """1 for a wrong class: as the loss on the line it is one less the accuracy."""
    y = keras.ops.reshape(y, (-1,))
    return keras.ops.cast(y != keras.ops.cast(keras.ops.argmax(outputs, -1), y.dtype), "float32")


def _without_curves(result):
    return {key: value for key, value in result.items() if not isinstance(value, dict)}
