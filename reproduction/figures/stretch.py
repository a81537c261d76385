"""How much stretch is enough? Our own question, which Hoffer, Hubara & Soudry (2017) leave open.

Their regime adaptation (section 5) multiplies the epochs by the ratio of the batches, so that the
large batch makes as many updates as the small one, and processes that many times its samples. They
show no stretch in between. Here is the accuracy over the samples processed, from a stretch of 1 to
the ratio, for

    +LR            the square-root rate
    +GBN           and ghost batch normalization
    +GBN, warm-up  and a gradual warm-up (Goyal et al.), an eighth of the recipe's epochs
    LARS           this package's LARS with weight decay, at one rate, plain batch normalization

The recipe at stretch 1 is short, 40 epochs, for only then is there something to gain. Stretches are
the powers of two up to half of the ratio, and the ratio itself.

Expected, from a first trial: with ghost batch normalization a stretch of 4 brings
most of the gain of 25; without it even 25 does not reach the small batch.
"""

import dataclasses

from reproduction.experiment import Experiment, sources_of
from reproduction.figures.hoffer.short_histories import shortened
from reproduction.methods import METHODS
from reproduction.plotting import means, tidy
from reproduction.recipes.demo import small_batch_regime
from reproduction.report import cell, markdown_table
from reproduction.statistics import UNFITTED, by_arm, caveats, difference, outcome

EPOCHS = 40
SERIES = ("+LR", "+GBN", "+GBN, warm-up", "LARS")
PAPER = "+GBN"  # the series of the paper's claim


def stretches(ratio):
    """The powers of two up to half of the ratio of the batches, and the ratio.

    Args:
        ratio: The large batch over the small one.
    """
    if ratio <= 1:
        raise ValueError(
            "The large batch must be larger than the recipe's own. Received: a ratio of "
            f"{ratio:g}. Pass another data set, whose recipe has one."
        )
    powers = [1]
    while 2 * powers[-1] <= ratio / 2:
        powers.append(2 * powers[-1])
    return [*powers, ratio]


def arm_name(series, stretch):
    """As in "+GBN, stretch 4"."""
    return f"{series}, stretch {stretch:g}"


def stretches_of(results, series):
    """The stretches of a series, rising."""
    return sorted({each["stretch"] for each in results if each["series"] == series})


def share(results, series, stretch):
    """What part of the longest stretch's gain a stretch has, or None if there is no clear gain."""
    tried = stretches_of(results, series)
    shortest, longest = (arm_name(series, each) for each in (tried[0], tried[-1]))
    gain, noise = difference(results, longest, shortest, results[0]["scored"])
    if gain <= noise:
        return None
    own, _ = difference(results, arm_name(series, stretch), shortest, results[0]["scored"])
    return own / gain


def recommended(results, series):
    """The smallest stretch from which on none is clearly worse than the longest."""
    tried = stretches_of(results, series)
    enough = tried[-1]
    for stretch in reversed(tried[:-1]):
        arms = (arm_name(series, tried[-1]), arm_name(series, stretch))
        behind, noise = difference(results, *arms, results[0]["scored"])
        if behind > noise:
            break
        enough = stretch
    return enough


class Stretch(Experiment):
    """One short recipe, stretched more and more, with four methods."""

    name = "stretch"
    title = "How much stretch is enough"
    paper = "Our own question, on Hoffer, Hubara & Soudry (2017), section 5"
    claim = "The paper stretches the epochs by the ratio of the batches. Is less enough?"
    sources = sources_of(__file__, "methods.py", "figures/hoffer/short_histories.py")

    def cases(self, setting):
        """The small batch, then a training a series and stretch."""
        first = next(iter(setting.regime.learning_rate.values()))
        base = _recipe(setting, first)
        large = setting.large_batch
        lars = dataclasses.replace(setting, optimizer=METHODS["LARS"].optimizer)
        lars_base = _recipe(setting, METHODS["LARS"].middle)
        cases = [setting.case("SB", base.at(base.batch), setting.plain, series="SB", stretch=1)]
        for stretch in stretches(large / base.batch):
            plan = base.at(large, stretch=stretch)
            warm = base.at(large, stretch=stretch, warmup_epochs=base.epochs / 8)
            own = lars_base.at(large, rule="none", stretch=stretch)
            for series, its, what, norm in (
                ("+LR", setting, plan, setting.plain),
                ("+GBN", setting, plan, setting.ghost),
                ("+GBN, warm-up", setting, warm, setting.ghost),
                ("LARS", lars, own, setting.plain),
            ):
                known = {"series": series, "stretch": stretch, "warmup": what.warmup_updates}
                cases.append(its.case(arm_name(series, stretch), what, norm, **known))
        return [shortened(case) for case in cases]

    def table(self, results):
        """A row a series and stretch: cost, accuracy, and share of the longest's gain."""
        by = {
            key: by_arm(results, key) for key in ("series", "stretch", "test_accuracy", "seconds")
        }
        updates, samples = by_arm(results, "updates"), by_arm(results, "samples")
        rows = []
        for series in ("SB", *SERIES):
            for arm in (arm for arm in by["series"] if by["series"][arm][0] == series):
                stretch = by["stretch"][arm][0]
                rows.append(
                    [
                        series,
                        f"{stretch:g}",
                        f"{updates[arm][0]:,}",
                        f"{samples[arm][0]:,}",
                        cell([100 * value for value in by["test_accuracy"][arm]]),
                        "" if series == "SB" else _share_text(results, series, stretch),
                        cell(by["seconds"][arm], "{:.1f}"),
                    ]
                )
        heading = ["arm", "stretch", "updates", "samples processed", "test accuracy, %"]
        return markdown_table([*heading, "share of its longest's gain, %", "seconds"], rows)

    def verdict(self, results):
        """What the longest stretch closes, and the smallest one that does as much.

        The paper's claim is reproduced where the stretch by the ratio gains clearly and is not
        clearly below the small batch.
        """
        scored = results[0]["scored"]
        tried = stretches_of(results, PAPER)
        shortest, longest = (arm_name(PAPER, stretch) for stretch in (tried[0], tried[-1]))
        gain, noise = difference(results, longest, shortest, scored)
        left, left_noise = difference(results, longest, "SB", scored)
        gains = gain > noise
        enough = recommended(results, PAPER)
        behind, doubt = difference(results, longest, arm_name(PAPER, enough), scored)
        advice = (
            f"Longer is not clearly better than {enough:g}, which is {behind:.1f} ± {doubt:.1f} "
            f"points short of it and takes {enough / tried[-1]:.0%} of its samples"
            if enough < tried[-1]
            else "The next shorter one is clearly worse"
        )
        return (
            f"{outcome(gains, gains and left >= -left_noise)}: with {PAPER} the stretch by the "
            f"ratio of the batches, {tried[-1]:g}, gains {gain:.1f} ± {noise:.1f} points over "
            f"{tried[0]:g} and ends {left:+z.1f} ± {left_noise:.1f} points from the small "
            f"batch. {advice}: here it is `Regime.at(stretch={enough:g})`. {_others(results)}"
            f"{caveats(results, UNFITTED)}."
        )

    def draw(self, picture, results):
        """Accuracy over the samples processed, a line a series; the small batch across."""
        axes = picture.subplots()
        tests, samples = by_arm(results, "test_accuracy"), by_arm(results, "samples")
        for number, series in enumerate(SERIES):
            arms = [arm_name(series, stretch) for stretch in stretches_of(results, series)]
            accuracies = [[100 * value for value in tests[arm]] for arm in arms]
            means(axes, [samples[arm][0] for arm in arms], accuracies, number + 1, series)
        small = [100 * value for value in tests["SB"]]
        axes.axhline(sum(small) / len(small), color="0.4", linewidth=1, label="SB, stretch 1")
        axes.set(xscale="log", xlabel="samples processed", ylabel="test accuracy, %")
        axes.set_title("mean ± standard deviation; a marker a stretch, from 1 on", fontsize=9)
        axes.legend(frameon=False)
        tidy(axes)


def _others(results):
    """The other series at the longest stretch beside +GBN, and the stretch that is enough."""
    longest = stretches_of(results, PAPER)[-1]
    parts = []
    for series in SERIES:
        if series != PAPER:
            arms = (arm_name(series, longest), arm_name(PAPER, longest))
            ahead, noise = difference(results, *arms, results[0]["scored"])
            enough = recommended(results, series)
            parts.append(f"{series} {ahead:+z.1f} ± {noise:.1f} points ({enough:g} is enough)")
    return f"Beside {PAPER} at {longest:g}: {', '.join(parts)}"


def _share_text(results, series, stretch):
    part = share(results, series, stretch)
    return "no clear gain" if part is None else f"{100 * part:.0f}"


def _recipe(setting, rate):
    """The demo's recipe with fewer epochs: a rate that drops at 1/2 and 3/4."""
    regime = setting.regime
    epochs = min(EPOCHS, regime.epochs)
    return small_batch_regime(regime.batch, epochs, regime.examples, rate)
