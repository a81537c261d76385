"""From the trainings of `large_batch_methods.py` to its table and its sentence."""

from pathlib import Path

import _report

FOLDER = Path("results") / "large_batch_methods"
COLUMNS = ("rate", "trained_on", *_report.COLUMNS)
BASE, TARGET = "SGD", "SB"


def sweep_line(name, accuracies):
    """The rates that were tried for a row, each with its held-out accuracy, and the best."""
    tried = "".join(f"  {rate:7g} {accuracy:5.2f}" for rate, accuracy in accuracies.items())
    return f"{name:13}{tried}   best {best(accuracies):g}"


def best(accuracies):
    """The rate with the highest accuracy; of equally good ones the first, which is the smallest."""
    return max(accuracies, key=accuracies.get)


def summarise(results, sweeps, scored):
    """The numbers of the table, by row: those of the demo's, the rate, and the gain over SGD.

    `at_edge` is whether the best rate was the largest or the smallest tried, so that a better one
    may lie outside; `clear` whether the gain is beyond two standard errors.
    """
    summary = _report.summarise(results)
    rates = {result["arm"]: result["rate"] for result in results}
    for name, row in summary.items():
        tried = list(sweeps.get(name, ()))
        gain, noise = _report.difference(results, name, BASE, scored)
        row |= {
            "rate": rates[name],
            "at_edge": len(tried) > 1 and rates[name] in (tried[0], tried[-1]),
            "gain": gain,
            "clear": abs(gain) > noise,
        }
    return summary


def table(summary, title, quick=False):
    """A row a method."""
    heads = ("", "rate", "test accuracy, %", "to SGD", "training, %", "updates", "samples", "s")
    forms = ("{:13}", "{:>9}", "{:>18}", "{:>10}", "{:>13}", "{:>9}", "{:>11}", "{:>8}")
    rows = [
        (
            name,
            f"{row['rate']:g}{'*' * row['at_edge']}",
            _report.with_deviation(row),
            _gain(name, row),
            f"{row['train_accuracy']:.2f}",
            f"{row['updates']:,.0f}",
            f"{row['samples']:,.0f}",
            f"{row['seconds']:.1f}",
        )
        for name, row in summary.items()
    ]
    lines = [
        "".join(form.format(cell) for form, cell in zip(forms, cells, strict=True)).rstrip()
        for cells in (heads, *rows)
    ]
    rule = "-" * max(map(len, lines))
    notes = [
        title,
        "mean ± standard deviation over the seeds; in brackets: no clear difference to SGD",
    ]
    if any(row["at_edge"] for row in summary.values()):
        notes.append("* the best rate is at the edge of those tried: a better one may lie beyond")
    if quick:
        notes.append(_report.QUICK)
    return "\n".join([*notes, rule, lines[0], rule, *lines[1:], rule])


def _gain(name, row):
    if name == BASE:
        return ""
    text = f"{row['gain']:+z.2f}"
    return text if row["clear"] else f"({text})"


def verdict(results, scored, quick=False):
    """What helped, in one sentence.

    Args:
        results: The trainings of all rows.
        scored: Samples that the accuracies were measured on.
        quick: Whether the run was too short to say anything.
    """
    if quick:
        return _report.QUICK
    gains, losses, rest = [], [], []
    for name in dict.fromkeys(result["arm"] for result in results):
        if name in (BASE, TARGET):
            continue
        gain, noise = _report.difference(results, name, BASE, scored)
        group = rest if abs(gain) <= noise else gains if gain > 0 else losses
        group.append((gain, name))
    gap, noise = _report.difference(results, TARGET, BASE, scored)
    small = f"{gap:.1f}" if gap > noise else f"no clear gap, {gap:+z.1f}"
    text = f"Over SGD at its best rate for the large batch, {_listed(gains, 'gains')}"
    text += f"{' points' if gains else ''} (the small batch: {small})"
    if rest:
        names = _joined([name for _, name in rest])
        text += f"; {names} make{'s' * (len(rest) == 1)} no clear difference"
    if losses:
        text += f"; {_listed(losses, 'loses')}"
    return f"{text}{_report.caveats(results)}."


def _listed(pairs, verb):
    """As in "GBN gains 3.1, LARS 2.0 and LAMB 1.5", the largest first."""
    if not pairs:
        return f"nothing {verb}"
    (gain, name), *rest = sorted(pairs, key=lambda pair: -abs(pair[0]))
    return _joined([f"{name} {verb} {abs(gain):.1f}", *(f"{n} {abs(g):.1f}" for g, n in rest)])


def _joined(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
