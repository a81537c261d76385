"""From the trainings of the moved recipes to the page on them, from the JSON alone."""

import itertools
import math
from statistics import fmean, geometric_mean

from reproduction.paired import OverSeeds, contrast
from reproduction.report import markdown_table, wrapped
from reproduction.statistics import by_arm

CELLS = ("x1", "x1 ghosts", "x4", "x4 ghosts")
SMALL_CELLS = ("", "ghosts")
TITLES = {"mnist1d": "MNIST-1D", "digits": "Digits"}


def judged(criteria, content):
    """By hypothesis, what the seeds say of it; None where a training is not made.

    Args:
        criteria: The experiment's.
        content: Of a data set's `results.json`.
    """
    results = content["trainings"]
    criteria.check(results, content["data"])
    made = {result["arm"] for result in results}
    return {
        each: contrast(results, each.better, each.than)
        if made.issuperset((*each.better, *each.than))
        else None
        for each in criteria.hypotheses(content["data"])
    }


def page(criteria, contents):
    """The whole of the generated part: decisions, then a section a data set.

    Args:
        criteria: The experiment's.
        contents: Of each data set's `results.json`.
    """
    return "\n\n".join(
        [decisions(criteria, contents), *(section(criteria, content) for content in contents)]
    )


def decisions(criteria, contents):
    """What the criteria make depend on the results, with the verdicts."""
    verdicts = {}
    for content in contents:
        margin = criteria.content["data"][content["data"]]["margin"]
        for hypothesis, paired in judged(criteria, content).items():
            if hypothesis.decides and paired:
                said = f"{paired.verdict(margin)} on {content['data']} ({_signed(paired.mean)})"
                verdicts.setdefault(hypothesis, []).append(said)
    rows = [
        [each.name, " ".join(each.decides.split()), ", ".join(said)]
        for each, said in verdicts.items()
    ]
    return "## What was to be decided\n\n" + markdown_table(
        ["difference", "what depends on it", "verdict, and points"], rows
    )


def section(criteria, content):
    """A data set's tables, and what they were made with."""
    name = content["data"]
    title = TITLES[name]
    parts = [f"## {title} {{#{name}}}", hypotheses_table(criteria, content)]
    for heading, text in (
        ("AdamW", _group(content, "AdamW")),
        ("SGD", _group(content, "SGD")),
        ("AdaScale", adascale_table(content)),
        ("The noise scale for Adam", noise_text(criteria, content)),
    ):
        parts += [f"### {heading}, {title}", text] if text else []
    parts += [_made_with(content), f"```sh\n{wrapped(content['command'])}\n```"]
    return "\n\n".join(parts)


def _group(content, group):
    made = any(each["arm"].startswith(f"{group} ") for each in content["trainings"])
    return f"{accuracies_table(content, group)}\n\n{_tuning(content, group)}" if made else ""


def hypotheses_table(criteria, content):
    """A row a hypothesis: the mean difference, its interval, the permutation test, the verdict."""
    margin = criteria.content["data"][content["data"]]["margin"]
    rows = []
    for hypothesis, paired in judged(criteria, content).items():
        if paired is None:
            rows.append([hypothesis.name, "", "", "", "not made"])
            continue
        low, high = paired.interval(criteria.content["statistics"]["confidence"])
        rows.append(
            [
                hypothesis.name,
                _signed(paired.mean),
                f"{_signed(low)} to {_signed(high)}",
                f"{paired.permutation_p:.3f}",
                paired.verdict(margin),
            ]
        )
    heading = ["difference of test accuracy", "points", "95 % interval", "p", "verdict"]
    return f"The margin is {margin:g} points.\n\n" + markdown_table(heading, rows)


def accuracies_table(content, group):
    """A row an arm, a column a stretch with plain or ghost batches: mean and half its interval."""
    scores = by_arm(content["trainings"], "test_accuracy")
    fits = by_arm(content["trainings"], "train_accuracy")
    names = dict.fromkeys(_short(arm, group) for arm in scores if arm.startswith(f"{group} "))
    rows = []
    for name in names:
        small = name == "small"
        arms = [f"{group} {name} {cell}".strip() for cell in (SMALL_CELLS if small else CELLS)]
        cells = [_accuracy(scores.get(arm), fits.get(arm)) for arm in arms]
        rows.append([name, *cells, *[""] * (len(CELLS) - len(cells))])
    heading = ["arm", "stretch 1", "1, ghosts", "stretch 4", "4, ghosts"]
    note = (
        "Test accuracy in %, mean ± half of the 95 % interval; an asterisk: mean training accuracy "
        "below 99 %. Small batch: plain and ghost batches, in the first two columns."
    )
    return f"{markdown_table(heading, rows)}\n\n{note}"


def adascale_table(content):
    """A row an arm: updates and accuracy; nothing where it was not made."""
    mine = [result for result in content["trainings"] if result["arm"].startswith("AdaScale ")]
    if not mine:
        return ""
    scores, fits = by_arm(mine, "test_accuracy"), by_arm(mine, "train_accuracy")
    updates = by_arm(mine, "updates")
    rows = [
        [
            arm.removeprefix("AdaScale ").removesuffix(" ghosts"),
            _accuracy(scores[arm], fits[arm]),
            f"{fmean(updates[arm]):.0f} ({min(updates[arm])} to {max(updates[arm])})",
        ]
        for arm in scores
    ]
    gains = [result["mean_gain"] for result in mine if "mean_gain" in result]
    curve = [result["gains"] for result in mine if "gains" in result]
    first, last = (fmean(each[place] for each in curve) for place in (0, -1))
    sizes = content["sizes"]
    note = (
        f"The gain, which is at most {sizes['large_batch'] / sizes['small_batch']:g}, is "
        f" {fmean(gains):.1f} in the mean over a training: {first:.1f} at its start, {last:.1f} "
        "towards its end."
    )
    table = markdown_table(["arm, with ghost batches", "test accuracy, %", "updates"], rows)
    return f"{table}\n\n{note}"


def noise_text(criteria, content):
    """Both noise scales, where the gap begins, and which of them is nearer."""
    if not content["noise"]:
        return ""
    rows, scales = [], {"SGD": [], "Adam": []}
    shares = criteria.content["noise"]["shares"]
    for place, share in enumerate(shares):
        cells = []
        for kind, found in scales.items():
            values = [each["points"][place][kind] for each in content["noise"]]
            found += values
            cells.append(", ".join(f"{value:.0f}" for value in values))
        rows.append([f"{share:.0%} of the training", *cells])
    means = {kind: geometric_mean(values) for kind, values in scales.items()}
    rows.append(["geometric mean", *(f"{mean:.0f}" for mean in means.values())])
    table = markdown_table(["", "SGD's, samples (a seed each)", "Adam's"], rows)
    batches, sizes = accuracy_by_batch(content), content["sizes"]
    curve = markdown_table(
        ["batch, AdamW, square root rule", *map(str, batches)],
        [["test accuracy, %", *(_accuracy(scores) for scores in batches.values())]],
    )
    begins = gap_begins({batch: 100 * fmean(s) for batch, s in batches.items()}, sizes["margin"])
    return (
        f"{table}\n\n{curve}\n\n{_prediction(means, begins, criteria.content['noise']['factor'])}"
    )


def accuracy_by_batch(content):
    """By batch, the accuracies of AdamW by the square root rule at equal epochs."""
    scores, sizes = by_arm(content["trainings"], "test_accuracy"), content["sizes"]
    arms = {sizes["small_batch"]: "AdamW small", sizes["large_batch"]: "AdamW sqrt x1"}
    arms |= {batch: f"batches sqrt {batch} x1" for batch in sizes["batches"]}
    return {batch: scores[arms[batch]] for batch in sorted(arms)}


def gap_begins(accuracies, margin):
    """The batch at which accuracy falls below the smallest batch's less the margin, or None.

    Args:
        accuracies: By batch, ascending, in percent; interpolated over the batch's logarithm.
        margin: In points.
    """
    pairs = list(accuracies.items())
    level = pairs[0][1] - margin
    for (batch, above), (larger, below) in itertools.pairwise(pairs):
        if below < level:
            share = (above - level) / (above - below)
            return batch * (larger / batch) ** share
    return None


def _prediction(means, begins, factor):
    if begins is None:
        return "There is no gap within these batches."
    off = {kind: abs(math.log(mean / begins)) for kind, mean in means.items()}
    near = min(off, key=off.get)
    text = f"The gap begins at a batch of {begins:.0f}."
    if off[near] > math.log(factor):
        return f"{text} Both scales are off by more than a factor of {factor}: neither predicts it."
    times = ", ".join(f"{kind}'s is {means[kind] / begins:.2g} times that" for kind in means)
    return f"{text} {times}: {near}'s predicts it better."


def _short(arm, group):
    name = arm.removeprefix(f"{group} ")
    for cell in ("ghosts", "x1", "x4"):
        name = name.removesuffix(f" {cell}")
    return name


def _accuracy(scores, fits=None):
    if not scores:
        return ""
    percent = [100 * score for score in scores]
    text = f"{fmean(percent):.2f}"
    if len(percent) > 1:
        low, high = OverSeeds(tuple(percent)).interval()
        text += f" ± {(high - low) / 2:.2f}"
    return text + "*" * (fits is not None and fmean(fits) < 0.99)


def _tuning(content, group):
    tried = content["sweeps"].get(group, {})
    if not tried:
        return ""
    rows = [["held-out accuracy, %", *(f"{score:.2f}" for score in tried.values())]]
    table = markdown_table(["small batch's rate", *(f"{float(rate):g}" for rate in tried)], rows)
    return f"{table}\n\nChosen: {content['rates'][group]:g}."


def _made_with(content):
    machine, versions = content["hardware"], content["versions"]
    backend, trainings = versions["backend"], content["trainings"]
    hours = sum(result["seconds"] for result in trainings) / 3600
    return (
        f"{len(trainings)} trainings, {hours:.1f} h in all on one core of "
        f"{machine['accelerator'] or machine['cpu']}, shared with other work, with Keras "
        f"{versions['keras']} and {backend} {versions[backend]}; scored on {content['scored_on']}. "
        f"Criteria: `{content['criteria'][:12]}`."
    )


def _signed(points):
    return f"{points:+z.2f}"
