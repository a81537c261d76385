"""Figure 3 of Gao & Zhong: the gradient at the first update, against batch size (section 2.1).

The paper computes the mean of `abs(g)` in the first fully connected layer of AlexNet, for batches
of 32 to 60000 (CIFAR-10 has 50000 training images), and compares it with its equation 4. That is
too large by the square root of 2: the mean is `sigma * sqrt(2 / (pi * n))`. And it assumes that the
gradient of all data together is zero, which it is not: a floor remains, which noise adds to in
quadrature.

Expected: a fitted exponent of -0.2 to -0.4, and of -0.5 when the floor is subtracted.
"""

import math
import statistics
import time

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.gao_zhong.gradients import (
    before_first_update,
    drawn,
    is_normalization,
    whole,
)
from reproduction.figures.gao_zhong.statistics import exponent, shown
from reproduction.figures.gao_zhong.trainings import batches_of
from reproduction.plotting import means, style, tidy
from reproduction.report import markdown_table
from reproduction.runs import Case


class Figure3(Experiment):
    """One measurement a seed, of all batches at the same initial weights."""

    name = "gao-3"
    title = "Gradient at the first update against batch size"
    paper = "Gao & Zhong, Figure 3 and equation 4"
    claim = "The mean absolute gradient falls as 1 / sqrt(batch)."
    sources = sources_of(__file__)

    def cases(self, setting):
        """Batches are drawn with replacement, so that they are independent."""
        batches = batches_of(setting)
        recipe = {"network": setting.network.__name__, "batches": batches, "epochs": 0}

        def run(seed, _):
            start = time.perf_counter()
            looks = [drawn(setting.data, batch, seed=seed) for batch in batches]
            layers = before_first_update(setting, seed, [*looks, whole(setting.data)])
            return {"layers": layers, "seconds": time.perf_counter() - start}

        return [Case("initial weights", recipe, 0, run)]

    def table(self, results):
        """A row a layer."""
        rows = []
        for layer in results[0]["layers"]:
            found = [_fit(result, layer) for result in results]
            forms = {"raw": "{:+.3f}", "corrected": "{:+.3f}", "constant": "{:.2f}"}
            cells = [shown([fit[key] for fit in found], form) for key, form in forms.items()]
            of_paper = shown([fit["constant"] / math.sqrt(2) for fit in found])
            rows.append([layer, *cells, of_paper])
        return markdown_table(
            [
                "layer",
                "exponent",
                "exponent without the floor",
                "ratio to sigma sqrt(2 / (pi n))",
                "ratio to the paper's 2 sigma / sqrt(pi n)",
            ],
            rows,
        )

    def measures(self, results):
        """The power of the first fully connected layer, and the mean one of layers with kernels.

        Normalization layers are left out: the paper's network has none.
        """
        layers = [layer for layer in results[0]["layers"] if not is_normalization(layer)]
        first = next(layer for layer in layers if layer.startswith("dense"))
        found = {"dense": [], "layers": [], "dense, noise": [], "layers, noise": []}
        for result in sorted(results, key=lambda each: each["seed"]):
            fits = {layer: _fit(result, layer) for layer in layers}
            for key, of_what in (("raw", ""), ("corrected", ", noise")):
                found[f"dense{of_what}"].append(fits[first][key])
                found[f"layers{of_what}"].append(statistics.fmean(f[key] for f in fits.values()))
        return found

    def draw(self, picture, results):
        """Raw on the left, less the floor and with the theory on the right."""
        left, right = picture.subplots(1, 2, sharey=True)
        batches = results[0]["batches"]
        layers = [layer for layer in results[0]["layers"] if not is_normalization(layer)]
        for number, layer in enumerate(layers):
            fits = [_fit(result, layer) for result in results]
            raw = [r["layers"][layer]["gradient"][:-1] for r in results]
            means(left, batches, list(zip(*raw, strict=True)), number, layer)
            floor = statistics.fmean(r["layers"][layer]["gradient"][-1] for r in results)
            left.axhline(floor, color=style(number)["color"], linewidth=0.8, linestyle=":")
            above = [fit["above"] for fit in fits]
            means(right, batches, list(zip(*above, strict=True)), number, layer)
            theory = [statistics.fmean(c) for c in zip(*(f["theory"] for f in fits), strict=True)]
            right.plot(batches, theory, color="0.6", linewidth=1, linestyle="--", zorder=0)
        left.set_title("as it is; dotted: of all data", fontsize=9)
        right.set_title("less that; dashed: sigma sqrt(2 / (pi n)), eq. 4 corrected", fontsize=9)
        left.set_ylabel("mean of abs(gradient)")
        for axes in (left, right):
            axes.set(xscale="log", yscale="log", xlabel="batch, samples")
            tidy(axes)
        left.legend(frameon=False)


def _fit(result, layer):
    """A layer's exponents, and what the noise's gradient is of the theory's.

    The theory's sigma is the deviation of a sample's gradient, as root mean square over the layer's
    weights and from the smallest batch; where weights differ in it, the mean of `abs(g)` is below
    the theory.
    """
    batches = result["batches"]
    *raw, floor = result["layers"][layer]["gradient"]
    first, *_, square = result["layers"][layer]["squared_gradient"]
    above = [math.sqrt(max(value**2 - floor**2, 0.0)) for value in raw]
    # The variance of the gradient of a batch is that of a sample over the batch.
    variance = batches[0] * (first - square)
    theory = [math.sqrt(max(variance, 0.0) * 2 / (math.pi * batch)) for batch in batches]
    ratios = [a / t if t else math.nan for a, t in zip(above, theory, strict=True)]
    return {
        "raw": exponent(batches, raw),
        "corrected": exponent(batches, above),
        "constant": statistics.fmean(ratios),
        "above": above,
        "theory": theory,
    }
