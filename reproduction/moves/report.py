"""From the trainings of the moved recipes to the page on them, from the JSON alone."""

from statistics import fmean

from reproduction.moves.noise_report import noise_text
from reproduction.paired import contrast, with_interval
from reproduction.report import markdown_table, wrapped
from reproduction.statistics import by_arm
from reproduction.wording import decision, difference

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
                verdict = paired.verdict(margin, criteria.confidence)
                said = f"{verdict} on {content['data']} ({_signed(paired.mean)})"
                verdicts.setdefault(hypothesis, []).append(said)
    rows = [
        [difference(each.name), decision(each.decides), ", ".join(said)]
        for each, said in verdicts.items()
    ]
    return "## Decisions\n\n" + markdown_table(
        ["difference", "what it decides", "verdict and points"], rows
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
        ("Afterwards: betas^k at other rates", by_rate_text(content)),
    ):
        parts += [f"### {heading}, {title}", text] if text else []
    parts += [made_with(content), f"```sh\n{wrapped(content['command'])}\n```"]
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
            rows.append([difference(hypothesis.name), "", "", "", "not run"])
            continue
        low, high = paired.interval(criteria.confidence)
        rows.append(
            [
                difference(hypothesis.name),
                _signed(paired.mean),
                f"{_signed(low)} to {_signed(high)}",
                f"{paired.permutation_p:.3f}",
                paired.verdict(margin, criteria.confidence),
            ]
        )
    interval = f"{100 * criteria.confidence:g} % interval"
    heading = ["difference in test accuracy", "points", interval, "p", "verdict"]
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
        cells = [with_interval(scores.get(arm), fits.get(arm)) for arm in arms]
        rows.append([name, *cells, *[""] * (len(CELLS) - len(cells))])
    heading = ["arm", "stretch 1", "1, ghosts", "stretch 4", "4, ghosts"]
    note = (
        "Test accuracy in %, mean ± half of the 95 % interval. An asterisk marks a mean training "
        "accuracy below 99 %. The small batch has two columns: plain and ghost batches."
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
            with_interval(scores[arm], fits[arm]),
            f"{fmean(updates[arm]):.0f} ({min(updates[arm])} to {max(updates[arm])})",
        ]
        for arm in scores
    ]
    gains = [result["mean_gain"] for result in mine if "mean_gain" in result]
    curve = [result["gains"] for result in mine if "gains" in result]
    first, last = (fmean(each[place] for each in curve) for place in (0, -1))
    sizes = content["sizes"]
    note = (
        f"The gain is at most {sizes['large_batch'] / sizes['small_batch']:g}. Its mean over a "
        f"run is {fmean(gains):.1f}: {first:.1f} at the start, {last:.1f} towards the end."
    )
    table = markdown_table(["arm, with ghost batches", "test accuracy, %", "updates"], rows)
    return f"{table}\n\n{note}"


def by_rate_text(content):
    """What betas^k does at the other rates: a question that the results raised."""
    found = content.get("by_rate")
    if not found:
        return ""
    rates = next(iter(found.values()))
    rows = [
        [name.removeprefix("AdamW "), *(f"{score:.2f}" for score in tried.values())]
        for name, tried in found.items()
    ]
    table = markdown_table(["small batch's rate", *(f"{float(rate):g}" for rate in rates)], rows)
    return (
        "Held-out accuracy in %, mean over three seeds, plain batch norm. We asked this after we "
        f"had seen the results, so it decides nothing.\n\n{table}"
    )


def _short(arm, group):
    name = arm.removeprefix(f"{group} ")
    for cell in ("ghosts", "x1", "x4"):
        name = name.removesuffix(f" {cell}")
    return name


def _tuning(content, group):
    tried = content["sweeps"].get(group, {})
    if not tried:
        return ""
    rows = [["held-out accuracy, %", *(f"{score:.2f}" for score in tried.values())]]
    table = markdown_table(["small batch's rate", *(f"{float(rate):g}" for rate in tried)], rows)
    return f"{table}\n\nChosen: {content['rates'][group]:g}."


def ended(content, *parts):
    """The parts of a page, and below them what made the results, with the command.

    Args:
        content: Of `results.json`.
        parts: Markdown.
    """
    command = f"```sh\n{wrapped(content['command'])}\n```"
    return "\n\n".join([*parts, made_with(content), command])


def made_with(content):
    """What the trainings were made with, and how long they took."""
    machine, versions = content["hardware"], content["versions"]
    backend, trainings = versions["backend"], content["trainings"]
    hours = sum(result["seconds"] for result in trainings) / 3600
    return (
        f"{len(trainings)} runs, {hours:.1f} h in total on one core of "
        f"{machine['accelerator'] or machine['cpu']} (shared with other work), with "
        f"Keras {versions['keras']} and {backend} {versions[backend]}. Scored on "
        f"{content['scored_on']}. "
        f"Criteria: `{content['criteria'][:12]}`."
    )


def _signed(points):
    return f"{points:+z.2f}"
