"""Hoffer, Hubara & Soudry (2017), Figure 7 (appendix): distance from the start by batch size.

The paper shows the distance of the weights from their initial values for several batches, over the
whole training, and says nothing about it but (section 3.1) that at equal epochs the distances
reached are very different. Its code measures the first parameter tensor only; here it is all.

Half the epochs of the recipe, each phase half as long: the distances need no finished training.

To be expected: the large batch ends at half the small one's distance, and at most of it with the
square-root rate. The curves cross, so that equal ends do not make equal paths.
"""

import math

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.batch_sweep import batch_axis, by_batch, ends, plan_at, swept
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.plotting import curves, means, tidy
from reproduction.report import cell, markdown_table
from reproduction.statistics import by_arm

SHARE_OF_EPOCHS = 0.5
LABELS = {"unchanged": "rate unchanged", "sqrt": "square-root rate"}


class DistanceByBatch(Experiment):
    """One recipe at several batches, with its rates and with the square-root rule's."""

    name = "hoffer-7"
    title = "Figure 7: distance from the initial weights by batch size"
    paper = "Hoffer, Hubara & Soudry (2017), Figure 7"
    claim = (
        "At equal epochs, a larger batch ends closer to its initial weights. The square-root rate "
        "takes it farther."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """A training a batch and rule; at the recipe's own batch the rules are the same."""
        regime, cases = setting.regime, []
        for rates, rule in (("unchanged", "none"), ("sqrt", "sqrt")):
            for batch in swept(setting):
                if rule == "sqrt" and batch == regime.batch:
                    continue
                plan = plan_at(regime, batch, rule, stretch=SHARE_OF_EPOCHS)
                known = {"rates": rates, "base_batch": regime.batch}
                name = f"batch {batch}, {LABELS[rates]}"
                cases.append(shortened(setting.case(name, plan, setting.plain, **known)))
        return cases

    def table(self, results):
        """A row a batch."""
        measured = [{**result, "distance": _end(result)} for result in results]
        unchanged, scaled = (by_batch(measured, "distance", rates) for rates in LABELS)
        updates = by_batch(results, "updates", "unchanged")
        rows = [
            [
                f"{batch:,}",
                f"{updates[batch][0]:,}",
                cell(values),
                cell(scaled[batch]) if batch in scaled else "the same",
            ]
            for batch, values in unchanged.items()
        ]
        epochs = results[0]["epochs"]
        heading = ["batch, samples", f"updates in {epochs} epochs"]
        return markdown_table(
            [*heading, *(f"distance, {label}" for label in LABELS.values())], rows
        )

    def measures(self, results):
        """How many times as far the recipe's batch ends, and how much nearer to 1 with the rate.

        Nearer is the absolute logarithm of that ratio less that of the one with the square-root
        rate. The paper gives no number for either.
        """
        base, largest = ends(results)
        measured = [{**result, "distance": _end(result)} for result in results]
        unchanged, scaled = (by_batch(measured, "distance", rates) for rates in LABELS)
        before = _ratios(unchanged[base], unchanged[largest])
        after = _ratios(unchanged[base], scaled[largest])
        return {
            "apart": before,
            "nearer": [
                abs(math.log(one)) - abs(math.log(two))
                for one, two in zip(before, after, strict=True)
            ],
        }

    def draw(self, picture, results):
        """Distances along the training, rates unchanged; at its end, with both."""
        left, right = picture.subplots(1, 2)
        unchanged = [result for result in results if result["rates"] == "unchanged"]
        for number, (arm, seeds) in enumerate(by_arm(unchanged, "weight_distance").items()):
            label = arm.partition(",")[0]
            distances = [history["distance"] for history in seeds]
            curves(left, seeds[0]["update"], distances, number, label)
        left.set(xscale="log", xlabel="optimizer updates", ylabel="distance from initial weights")
        left.set_title("rate unchanged: mean over the seeds, and their range", fontsize=9)
        measured = [{**result, "distance": _end(result)} for result in results]
        base, _ = ends(results)
        small = by_batch(measured, "distance", "unchanged")[base]  # with both rules the same
        for number, (rates, label) in enumerate(LABELS.items()):
            found = dict(sorted({base: small, **by_batch(measured, "distance", rates)}.items()))
            means(right, list(found), list(found.values()), number, label)
        batch_axis(right, found)
        right.set_ylabel("distance at the end")
        right.set_title("mean ± standard deviation", fontsize=9)
        for axes in (left, right):
            axes.legend(frameon=False, fontsize=8)
            tidy(axes)


def _end(result):
    return result["weight_distance"]["distance"][-1]


def _ratios(small, large):
    return [one / two for one, two in zip(small, large, strict=True)]
