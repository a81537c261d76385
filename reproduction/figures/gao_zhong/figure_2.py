"""Figure 2 of Gao & Zhong: the radius of curvature, layer by layer (sections 2.1 and 4.1).

The paper's estimate of the radius is `abs(w / g)`, equation 17. Its figure shows that of AlexNet's
layers, at a moment that it does not name, with the biases' "artificially enlarged by 10 times".
Nothing is enlarged here. A layer is all its trainable variables together: a normalization layer's
are gamma and beta, and the fully connected layer's biases are in it. At the start beta and biases
are zero, and so are their radii; therefore the table has the mean over the later half of the
measurements, one at the first update of each epoch.

Expected: layers differ by an order of magnitude or so.
"""

import math
import statistics
import time

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.gradients import drawn, is_normalization, plain_names
from reproduction.figures.gao_zhong.statistics import finite, number, shown
from reproduction.figures.gao_zhong.trainings import compiled, first_rate
from reproduction.plotting import curves, means, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case, six_digits

EPOCHS = 20


class Figure2(Experiment):
    """A short training at the small and at the large batch, measured once an epoch."""

    name = "gao-2"
    title = "Radius of curvature by layer"
    paper = "Gao & Zhong, Figure 2"
    claim = "The curvature varies considerably between layers."
    sources = sources_of(__file__)

    def cases(self, setting):
        """At the constant rate that the regime begins with."""
        return [
            _case(setting, name, batch)
            for name, batch in (("SB", setting.regime.batch), ("LB", setting.large_batch))
        ]

    def table(self, results):
        """A row a layer."""
        radii = {arm: _radii(results, arm) for arm in ("SB", "LB")}
        rows = [
            [_marked(layer), *(shown(radii[arm][layer], "{:.3g}") for arm in radii)]
            for layer in radii["SB"]
        ]
        rows.append(["epochs", *(str(results[0]["epochs"]) for _ in radii)])
        heads = [f"median of abs(w / g), {arm}" for arm in radii]
        return markdown_table(["layer", *heads], rows)

    def measures(self, results):
        """The largest radius of a layer with kernels over the smallest, at each batch."""
        return {arm: _contrasts(_radii(results, arm)) for arm in ("SB", "LB")}

    def draw(self, picture, results):
        """By layer on the left; on the right along the training at the large batch."""
        left, right = picture.subplots(1, 2, sharey=True)
        layers = list(results[0]["radii"])
        for place, arm in enumerate(("SB", "LB")):
            values = list(_radii(results, arm).values())
            means(left, *finite(range(len(layers)), values), place, arm)
        labels = [
            f"{layer.replace('normalization', 'norm')}*" if is_normalization(layer) else layer
            for layer in layers
        ]
        left.set_xticks(range(len(layers)), labels, rotation=45, ha="right", fontsize=8)
        left.set_xlabel("* gamma and beta, not enlarged by 10")
        left.set_ylabel("radius: median of abs(w / g)")
        large = [r for r in results if r["arm"] == "LB"]
        kernels = [layer for layer in layers if not is_normalization(layer)]
        for place, layer in enumerate(kernels):
            seeds = [[number(value) for value in r["radii"][layer]] for r in large]
            curves(right, large[0]["measured"], seeds, place, layer)
        right.set_xlabel("optimizer updates, LB")
        for axes in (left, right):
            axes.set_yscale("log")
            axes.legend(frameon=False, fontsize=8)
            tidy(axes)


def _case(setting, name, batch):
    epochs = min(EPOCHS, setting.regime.epochs)
    rate = first_rate(setting)
    recipe = {"network": setting.network.__name__, "batch": batch, "epochs": epochs, "rate": rate}

    def run(seed, progress):
        start = time.perf_counter()
        model = compiled(setting, seed, setting.optimizer(rate))
        look = drawn(setting.data, batch, draws=8)
        model.fit(
            **setting.data.training(batch, seed),
            epochs=epochs,
            callbacks=[look, progress],
            verbose=0,
        )
        layers = look.history["layers"]
        return {
            "seconds": time.perf_counter() - start,
            "measured": look.history["update"],
            "radii": {
                name: [six_digits(value) for value in layers[path]["radius"]]
                for path, name in plain_names(layers).items()
            },
        }

    return Case(name, recipe, epochs, run)


def _radii(results, arm):
    """By layer the seeds' radii: geometric means over the later half of the measurements."""
    mine = sorted((r for r in results if r["arm"] == arm), key=lambda r: r["seed"])
    return {layer: [_late(r["radii"][layer]) for r in mine] for layer in mine[0]["radii"]}


def _late(series):
    late = [number(value) for value in series[len(series) // 2 :]]
    if not all(value > 0 for value in late):
        return math.nan
    return statistics.geometric_mean(late)


def _contrasts(radii):
    """By seed how many times the smallest radius of a layer with kernels the largest is.

    A layer of whose weights more than half have no gradient has no radius, and is left out.
    """
    kernels = [values for layer, values in radii.items() if not is_normalization(layer)]
    columns = [[r for r in column if r > 0] for column in zip(*kernels, strict=True)]
    return [max(column) / min(column) if column else math.nan for column in columns]


def _marked(layer):
    return f"{layer} (gamma and beta, not scaled by 10)" if is_normalization(layer) else layer
