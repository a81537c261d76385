"""Hoffer, Hubara & Soudry (2017), Figure 2 (sections 3.1 and 4): weight distance over updates.

The paper shows the distance from the initial weights in the first phase of the training of Figure
1, on a log axis: (a) a line for each batch, of different slopes; (b) with the square-root rate and
ghost batch normalization, of better matched slopes. It fits nothing and compares with no other
law; its code measures the first parameter tensor only, once an epoch. Its batches have equal
epochs; here they have equal updates (to the nearest whole epoch), or their lines could not be
compared. The rate is constant, as in the paper's first phase.

To be expected: the slope falls with the batch and is matched after. But the small batch follows
the square root of the updates, not their logarithm, and the curves cross: equal slopes and ends
are not equal paths. It is the rate that matches them, not the ghosts.
"""

import dataclasses
import math
from statistics import fmean

from keras_bigbatch.diagnostics import fit_diffusion
from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.batch_sweep import by_batch, ends, plan_at, swept
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.plotting import curves, tidy
from reproduction.report import cell, markdown_table

UPDATES, QUICK_UPDATES = 1000, 60
FIRST_FITTED = 10  # `WeightDistance.fit`'s: the first updates follow no law
LAWS = ("log", "sqrt", "power")
RATES = {"unchanged": "before", "sqrt": "after"}


class DistanceOverUpdates(Experiment):
    """Trainings of a constant rate and as many updates, at several batches."""

    name = "hoffer-2"
    title = "Figure 2: weight distance over updates"
    paper = "Hoffer, Hubara & Soudry (2017), Figure 2"
    claim = (
        "The distance from the initial weights grows with the logarithm of the updates. Its slope "
        "depends on the batch, and less so with the square-root rate and ghost batch norm."
    )
    sources = sources_of(__file__)

    def cases(self, setting):
        """A training a batch before, and one after for all but the recipe's own."""
        regime = setting.regime
        updates = QUICK_UPDATES if setting.quick else UPDATES
        constant = dataclasses.replace(
            regime,
            learning_rate=next(iter(regime.learning_rate.values())),
            epochs=-(-updates // regime.steps_per_epoch),
        )
        cases = []
        for rates, rule in (("unchanged", "none"), ("sqrt", "sqrt")):
            for batch in swept(setting):
                if rule == "sqrt" and batch == regime.batch:
                    continue
                # A batch below the recipe's is what the ghosts are to be like: it needs none.
                ghosts = rule == "sqrt" and batch > regime.batch
                norm = setting.ghost if ghosts else setting.plain
                known = {"rates": rates, "base_batch": regime.batch}
                name = f"batch {batch}, {RATES[rates]}"
                cases.append(
                    shortened(setting.case(name, plan_at(constant, batch, rule), norm, **known))
                )
        return cases

    def table(self, results):
        """A row a training: where it got, and how well each law describes how."""
        rows = []
        for rates, label in RATES.items():
            for batch, histories in by_batch(results, "weight_distance", rates).items():
                fits = [_fit(history) for history in histories]
                laws = [_r2(fit) for fit in fits]
                rows.append(
                    [
                        f"{label}, {batch:,}",
                        cell([fit.slope for fit in fits]),
                        *(cell([law[name] for law in laws], "{:.3f}") for name in LAWS),
                        cell([fit.power.exponent for fit in fits]),
                        cell([history["distance"][-1] for history in histories]),
                        f"{histories[0]['update'][-1]:,}",
                    ]
                )
        heading = ["batch, samples", "slope over ln t", *(f"R2 {law}" for law in LAWS), "p of t^p"]
        return markdown_table([*heading, "distance at the end", "updates"], rows)

    def measures(self, results):
        """Ratios of slopes, recipe's batch to largest, and by how much the log law is the best.

        The last is R2 of the line on ln t less that of the better one of square root and power, at
        the batch where that is least: the log law is to be the best at every batch.
        """
        base, largest = ends(results)
        small = _slopes(results, "unchanged")[base]
        fits = by_batch(results, "weight_distance", "unchanged").values()
        ahead = [[_log_ahead(_fit(history)) for history in seeds] for seeds in fits]
        return {
            name: _ratios(small, _slopes(results, rates)[largest]) for rates, name in RATES.items()
        } | {"law": [min(seed) for seed in zip(*ahead, strict=True)]}

    def caveats(self, results):
        """What equal slopes do not say, and which law describes which batch best."""
        update, apart = _halfway(results, *ends(results))
        others = [f"{each:,} ({law})" for each, law in best_laws(results).items() if law != "log"]
        at = "batches" if len(others) > 1 else "a batch"
        listed = " and ".join(", ".join(others).rsplit(", ", 1))
        said = f" At an unchanged rate, a different law fits best at {at} of {listed}."
        return (
            f"Equal slopes do not mean equal paths: at update {update}, the largest batch with the "
            f"square-root rate is {fmean(apart):.2f} times as far from its initial weights as the "
            "recipe's batch is."
            f"{said if others else ''}"
        )

    def draw(self, picture, results):
        """(a) before and (b) after; the recipe's own batch is in both."""
        base, _ = ends(results)
        both = {rates: by_batch(results, "weight_distance", rates) for rates in RATES}
        order = list(both["unchanged"])
        both["sqrt"] = {**both["sqrt"], base: both["unchanged"][base]}
        titles = ("(a) rate unchanged", "(b) square-root rate and ghost batch norm")
        panels = picture.subplots(1, 2, sharey=True)
        for axes, histories, title in zip(panels, both.values(), titles, strict=True):
            for number, batch in enumerate(order):
                seeds = [history["distance"] for history in histories[batch]]
                label = f"batch {batch:,}{', the recipe' * (batch == base)}"
                curves(axes, histories[batch][0]["update"], seeds, number, label)
            axes.set(xscale="log", xlabel="optimizer updates")
            axes.set_title(title, fontsize=9)
            tidy(axes)
        panels[0].set_ylabel("distance from the initial weights")
        note = "mean over the seeds, and their range"
        panels[0].legend(frameon=False, fontsize=8, title=note, title_fontsize=8)


def best_laws(results):
    """By batch the law with the highest R2, mean over the seeds, of the unchanged rate."""
    best = {}
    for batch, histories in by_batch(results, "weight_distance", "unchanged").items():
        laws = [_r2(_fit(history)) for history in histories]
        means = {name: fmean(law[name] for law in laws) for name in LAWS}
        best[batch] = max(means, key=means.get)
    return best


def _halfway(results, base, largest):
    """The update halfway on the log axis, and how far the largest batch is then, after."""
    small = by_batch(results, "weight_distance", "unchanged")[base]
    large = by_batch(results, "weight_distance", "sqrt")[largest]
    shared = sorted({*small[0]["update"]} & {*large[0]["update"]})
    middle = math.sqrt(FIRST_FITTED * shared[-1])
    update = min(shared, key=lambda place: abs(math.log(place / middle)))
    ends = ([_at(history, update) for history in seeds] for seeds in (large, small))
    return update, _ratios(*ends)


def _at(history, update):
    return history["distance"][history["update"].index(update)]


def _slopes(results, rates):
    found = by_batch(results, "weight_distance", rates)
    return {batch: [_fit(each).slope for each in seeds] for batch, seeds in found.items()}


def _ratios(first, second):
    return [one / two for one, two in zip(first, second, strict=True)]


def _log_ahead(fit):
    """How much more of the distance the log law explains than the better one of the others."""
    laws = _r2(fit)
    return laws.pop("log") - max(laws.values())


def _r2(fit):
    return {"log": fit.r2, "sqrt": fit.sqrt.r2, "power": fit.power.r2}


def _fit(history):
    pairs = zip(history["update"], history["distance"], strict=True)
    return fit_diffusion(*zip(*(pair for pair in pairs if pair[0] >= FIRST_FITTED), strict=True))
