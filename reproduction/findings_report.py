"""Findings as text: the cells of a table, a row a part, and what stands around it."""

import math

from reproduction.criteria.parts import parts_of, stamp_of
from reproduction.findings import Finding, outcome
from reproduction.wording import plain

HEADING = ("verdict", "effect", "95 % interval", "criterion")  # a phone shows the first two
UNKNOWN = "-"  # an interval of one seed, a mean of numbers that are not all finite
OLDER = "This result predates these criteria."


def findings_of(experiment, content):
    """What the seeds say of each part of the claim.

    Results from before these criteria may lack an arm: they tell nothing of the claim then.

    Args:
        experiment: Whose results they are.
        content: Of `results.json`.
    """
    try:
        return experiment.findings(content["trainings"])
    except (KeyError, ValueError):
        if by_these_criteria(experiment, content):
            raise
        unknown = (math.nan,) * len(content["seeds"])
        return [Finding(part, unknown) for part in parts_of(experiment.criteria)]


def lead(findings):
    """The claim's verdict, and by how many seeds, above the table."""
    seeds = findings[0].count
    return f"**{outcome(findings)}** (n = {seeds} seed{'s' * (seeds > 1)}):"


def cells(finding):
    """What `HEADING` names, as text."""
    part, interval, effect = finding.part, finding.interval, finding.effect
    known = [value for value in (effect, *interval) if not math.isnan(value)]
    sign = "+" if _is_difference(part) else ""
    form = f"{{:{sign}z,.{_decimals(part, known)}f}}"
    times = " times" if part.log else ""
    texts = [form.format(value) for value in known]
    return [
        finding.verdict,
        f"{texts[0]}{times}" if texts else UNKNOWN,
        f"{texts[1]} to {texts[2]}{times}" if len(texts) > 1 else UNKNOWN,
        f"{part.criterion} {plain(part.unit)}".rstrip(),
    ]


def _decimals(part, values):
    """Three digits of the largest; 0.01 points are a sample of 10,000.

    More, if a number would look as if it were an end of the range, and is not.
    """
    largest, decimals = max(map(abs, values), default=0), 2
    if largest and not part.unit.startswith("points"):
        decimals = min(max(2 - math.floor(math.log10(largest)), 0), 6)
    ends = [end for end in (part.above, part.below) if math.isfinite(end)]
    while decimals < 6 and any(
        round(value, decimals) == round(end, decimals)
        and not math.isclose(value, end, abs_tol=1e-9)
        for value in values
        for end in ends
    ):
        decimals += 1
    return decimals


def _is_difference(part):
    """Whether 0 has a meaning: it is an end of the range, or in the middle of one."""
    around = -math.inf < part.above < 0 < part.below < math.inf
    return not part.log and (
        part.unit.startswith("points") or around or 0 in (part.above, part.below)
    )


def notes(experiment, content):
    """What a reader must know beside the table, in sentences; or nothing.

    Args:
        experiment: Whose results they are.
        content: Of `results.json`.
    """
    results = content["trainings"]
    blind = experiment.blind(results)
    said = [
        experiment.caveats(results),
        f"This cannot show a difference: {blind}." if blind else "",
        "" if by_these_criteria(experiment, content) else OLDER,
    ]
    return " ".join(filter(None, said))


def by_these_criteria(experiment, content):
    """Whether the results were made when the file of criteria was what it is now."""
    return content.get("criteria_file") == stamp_of(experiment.criteria)
