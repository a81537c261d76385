"""From the ratios of moments to a table, a sentence and a picture."""

import itertools
import math
from statistics import fmean

from reproduction import report
from reproduction.plotting import style, tidy
from reproduction.statistics import spread

TITLE = "Deviation at noise 30, over that of the small batch at equal samples"
LOW, HIGH, LOW_OF = 0.8, 1.25, {"Adagrad": 0.75}
MEASURES = ("deviation", "drift")
PARTS = ("sixteenth", "quarter", "half", "whole")  # of the training
START, COUNTED_PARTS = slice(0, 1), slice(1, None)  # the first does not count
COUNTED, BEYOND = (30.0, 100.0), (3.0,)  # the levels of noise of the criterion, and the other
COLUMNS = (
    *("arm", "seed", "ratio", "rule", "noise"),
    *(f"{key}_{part}" for key, part in itertools.product(MEASURES, PARTS)),
)
# What the picture shows: an optimizer, its rule, and where.
SHOWN = (
    (
        ("SGD", "linear"),
        ("Adam", "square root, betas left"),
        ("RMSprop", "square root, betas^k"),
        ("Adagrad", "none"),
    ),
    (
        ("RMSprop", "square root, betas left"),
        ("Adamax", "square root, betas left"),
        ("Lion", "square root, betas left"),
        ("Adadelta", "linear, betas left"),
    ),
)


def line(result):
    """One optimizer at one seed, in one line."""
    return f"{len(result['large'])} trainings of the larger batches  {result['seconds']:.0f} s"


def rows(results, settings):
    """Of each optimizer, seed, ratio, rule and noise: the ratios of the moments, in one row."""
    return [
        {
            **{key: result[key] for key in ("arm", "seed")},
            **{key: large[key] for key in ("ratio", "rule")},
            "noise": noise,
            **{
                f"{key}_{part}": values[column]
                for key in MEASURES
                for part, values in zip(PARTS, large[key], strict=True)
            },
        }
        for result in results
        for large in result["large"]
        for column, noise in enumerate(settings["noises"])
    ]


def summarise(rows):
    """The same over the seeds: of each number its mean and two standard errors, a pair."""
    groups = {}
    for row in rows:
        group = tuple(row[key] for key in ("arm", "rule", "ratio", "noise"))
        groups.setdefault(group, []).append(row)
    return [
        {
            **dict(zip(("arm", "rule", "ratio", "noise"), group, strict=True)),
            **{key: [_pair(mine, f"{key}_{part}") for part in PARTS] for key in MEASURES},
        }
        for group, mine in groups.items()
    ]


def _pair(rows, key):
    """Two standard errors, and not Student's interval: so the criterion was written beforehand."""
    values = [row[key] for row in rows]
    errors = 2 * spread(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return [round(number, 4) for number in (fmean(values), errors)]


def means(summary, arm, rule, ratio, key, noises=COUNTED, parts=COUNTED_PARTS):
    """The means and noises of one measure, over levels of noise and parts of the training."""
    return [
        tuple(pair)
        for each in summary
        if (each["arm"], each["rule"], each["ratio"]) == (arm, rule, ratio)
        and each["noise"] in noises
        for pair in each[key][parts]
    ]


def keeps(summary, arm, rule, ratio):
    """Whether a rule keeps the moments, by the criterion of `moments.py`."""
    low = LOW_OF.get(arm, LOW)
    return all(
        low <= mean - noise and mean + noise <= HIGH
        for key in MEASURES
        for mean, noise in means(summary, arm, rule, ratio, key)
    )


def kept_at(summary, arm, rule):
    """The ratios of the batches at which it does."""
    return [ratio for ratio in ratios(summary) if keeps(summary, arm, rule, ratio)]


def worst(pairs):
    """The mean that is furthest from 1, as a ratio."""
    return max((mean for mean, _ in pairs), key=lambda mean: abs(math.log(max(mean, 1e-9))))


def everything(summary):
    """Optimizers and rules, in the order in which they were measured."""
    return list(dict.fromkeys((each["arm"], each["rule"]) for each in summary))


def ratios(summary):
    """By how much the batch grew."""
    return list(dict.fromkeys(each["ratio"] for each in summary))


def table(summary, settings, seeds, quick=False):
    """For a terminal: the ratio that is furthest from 1, for each rule and ratio of the batches."""
    batches = ratios(summary)
    head = [f"{'':34}" + "".join(f"{f'k = {ratio}':>12} " for ratio in batches).rstrip()]
    lines, before = [], None
    for arm, rule in everything(summary):
        if arm != before:
            lines.append(arm)
        before = arm
        cells = []
        for ratio in batches:
            found = [worst(means(summary, arm, rule, ratio, key)) for key in MEASURES]
            mark = "*" if keeps(summary, arm, rule, ratio) else " "
            cells.append(
                "".join(f"{number:6.{2 if number < 100 else 0}f}" for number in found) + mark
            )
        lines.append(f"  {rule:32}" + "".join(cells))
    notes = [
        "deviation and drift as ratios to the small batch's, those furthest from 1",
        "at noise 30 and 100, from a quarter of the training on; * keeps them",
        f"batch {settings['batch']} and k times that, {settings['updates']:,} updates over k, "
        f"{report.seeds(seeds)}",
    ]
    return report.ruled(notes, head, lines, quick=quick)


def verdict(summary):
    """Which optimizers have a rule, in one sentence an answer."""
    found = {}
    for arm, rule in everything(summary):
        found.setdefault(arm, []).append((kept_at(summary, arm, rule), rule))
    answers = {}
    for arm, pairs in found.items():
        best = max((kept for kept, _ in pairs), key=len)
        names = " or ".join(rule for kept, rule in pairs if kept == best)
        answers.setdefault(tuple(best), []).append(f"{arm} ({names})" if best else arm)
    return " ".join(
        f"Kept at {'k = ' + ', '.join(map(str, kept)) if kept else 'no k'}: {'; '.join(arms)}."
        for kept, arms in sorted(answers.items(), key=lambda each: -len(each[0]))
    )


def draw(picture, summary, settings):
    """Deviations over the updates that the larger batch has made; a marker a ratio of the batches.

    Args:
        picture: An empty figure.
        summary: Of all optimizers and rules.
        settings: With the length and its parts.
    """
    panels = picture.subplots(1, len(SHOWN), sharey=True)
    for axes, shown in zip(panels, SHOWN, strict=True):
        axes.axhspan(LOW, HIGH, color="0.5", alpha=0.15, linewidth=0, zorder=0)
        for number, (arm, rule) in enumerate(shown):
            look = style(number)
            for place, ratio in enumerate(ratios(summary)):
                pairs = means(summary, arm, rule, ratio, "deviation", COUNTED[:1], slice(None))
                updates = [part * settings["updates"] / ratio for part in settings["parts"]]
                axes.plot(
                    updates[: len(pairs)],
                    [mean for mean, _ in pairs],
                    color=look["color"],
                    marker="os^"[place],
                    markersize=5,
                    linewidth=1.3,
                    label=None if place else f"{arm}: {rule}",
                )
        axes.set(
            xscale="log",
            xlabel="updates of the larger batch",
        )
        axes.legend(frameon=False, fontsize=8, loc="upper right")
        tidy(axes)
    panels[0].set_ylabel("ratio of the deviations")
    marks = "circles k = 4, squares 16, triangles 64"
    panels[0].set_title(f"kept from early on; {marks}", fontsize=9)
    panels[1].set_title("kept after a while; the same marks", fontsize=9)
