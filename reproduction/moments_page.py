"""The tables and sentences of the page on moments, from `results.json` alone."""

from reproduction import report
from reproduction.moments_report import (
    BEYOND,
    COUNTED,
    COUNTED_PARTS,
    MEASURES,
    START,
    everything,
    kept_at,
    means,
    ratios,
)


def page(content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    summary, largest = content["summary"], ratios(content["summary"])[-1]
    kept = [pair for pair in everything(summary) if kept_at(summary, *pair)]
    missed = [pair for pair in everything(summary) if pair not in kept]
    machine, versions = content["hardware"], content["versions"]
    cores = "one core" if machine["cores"] == 1 else f"{machine['cores']} cores"
    seconds = sum(each["seconds"] for each in content["trainings"])
    answer = _markdown(
        kept,
        {
            **_by_ratio(summary),
            f"k = {largest}, the start": lambda *pair: _cell(summary, *pair, largest, parts=START),
            "keeps at k": lambda *pair: ", ".join(map(str, kept_at(summary, *pair))),
        },
    )
    beyond = _markdown(
        kept,
        {
            "at a sixteenth of the run": lambda *pair: _cell(
                summary, *pair, largest, BEYOND, START
            ),
            "from a quarter on": lambda *pair: _cell(summary, *pair, largest, BEYOND),
        },
    )
    return "\n\n".join(
        [
            "## The rules that keep the moments {#kept}",
            content["verdict"],
            answer,
            pictures["figure"],
            "## The rules that do not, and how far off they are {#missed}",
            _markdown(missed, _by_ratio(summary)),
            "## When the batch is beyond the noise scale {#beyond}",
            f"The rules of the first table, with a noise of {BEYOND[0]:.0f} per sample and "
            f"k = {largest}:",
            beyond,
            f"Means over seeds {', '.join(map(str, content['seeds']))}; two standard errors "
            f"are at most {_largest_noise(summary, kept):.2f} in the first table. "
            f"{len(content['trainings'])} runs, {seconds:,.0f} s in total, on {cores} of "
            f"{machine['accelerator'] or machine['cpu']} with Keras {versions['keras']} "
            f"and {versions['backend']} {versions[versions['backend']]}.",
            f"```sh\n{report.wrapped(content['command'])}\n```",
        ]
    )


def _markdown(pairs, columns):
    """A row for each optimizer and rule; `columns` make a cell of them, by the heading."""
    cells = [[*pair, *(make(*pair) for make in columns.values())] for pair in pairs]
    return report.markdown_table(["optimizer", "rule", *columns], cells)


def _by_ratio(summary):
    return {
        f"k = {ratio}": lambda arm, rule, ratio=ratio: _cell(summary, arm, rule, ratio)
        for ratio in ratios(summary)
    }


def _cell(summary, arm, rule, ratio, noises=COUNTED, parts=COUNTED_PARTS):
    """Lowest and highest deviation and drift, as in "0.95-1.02; 0.92-0.98"."""
    texts = []
    for key in MEASURES:
        values = [mean for mean, _ in means(summary, arm, rule, ratio, key, noises, parts)]
        low, high = (f"{bound(values):.2f}" for bound in (min, max))
        texts.append(low if low == high else f"{low}-{high}")
    return "; ".join(texts)


def _largest_noise(summary, pairs):
    return max(
        noise
        for pair in pairs
        for ratio in ratios(summary)
        for key in MEASURES
        for _, noise in means(summary, *pair, ratio, key)
    )
