"""From the trainings of the methods to their table, sentence and picture."""

from statistics import fmean

from reproduction import report, statistics
from reproduction.plotting import tidy
from reproduction.statistics import by_arm, difference

COLUMNS = ("rate", "trained_on", *report.COLUMNS)
BASE, TARGET = "SGD", "SB"
# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = {"SB": "#000000", "SGD": "#D55E00"}
OTHERS = "#0072B2"
SHOWN = 20  # points below the best that the colours of the right half tell apart


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
    may lie outside; `clear` whether the 95 % interval around the gain leaves 0 out.
    """
    summary = statistics.summarise(results)
    rates = {result["arm"]: result["rate"] for result in results}
    for name, row in summary.items():
        tried = list(sweeps.get(name, ()))
        gain, noise = difference(results, name, BASE, scored)
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
            report.with_deviation(row),
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
    notes = [
        title,
        "mean ± standard deviation over the seeds; in brackets: no clear difference to SGD",
    ]
    if any(row["at_edge"] for row in summary.values()):
        notes.append("* the best rate is at the edge of those tried: a better one may lie beyond")
    return report.ruled(notes, lines[:1], lines[1:], quick=quick)


def _gain(name, row):
    if name == BASE:
        return ""
    text = f"{row['gain']:+z.2f}"
    return text if row["clear"] else f"({text})"


def verdict(results, scored):
    """What helped, in one sentence."""
    gains, losses, rest = [], [], []
    for name in dict.fromkeys(result["arm"] for result in results):
        if name in (BASE, TARGET):
            continue
        gain, noise = difference(results, name, BASE, scored)
        group = rest if abs(gain) <= noise else gains if gain > 0 else losses
        group.append((gain, name))
    gap, noise = difference(results, TARGET, BASE, scored)
    small = f"{gap:.1f}" if gap > noise else f"no clear gap, {gap:+z.1f}"
    text = f"Over SGD at its best rate for the large batch, {_listed(gains, 'gains')}"
    text += f"{' points' if gains else ''} (the small batch: {small})"
    if rest:
        names = _joined([name for _, name in rest])
        text += f"; {names} make{'s' * (len(rest) == 1)} no clear difference"
    if losses:
        text += f"; {_listed(losses, 'loses')}"
    return f"{text}{statistics.caveats(results)}."


def _listed(pairs, verb):
    """As in "GBN gains 3.1, LARS 2.0 and LAMB 1.5", the largest first."""
    if not pairs:
        return f"nothing {verb}"
    (gain, name), *rest = sorted(pairs, key=lambda pair: -abs(pair[0]))
    return _joined([f"{name} {verb} {abs(gain):.1f}", *(f"{n} {abs(g):.1f}" for g, n in rest)])


def _joined(words):
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def draw(picture, results, sweeps):
    """Accuracies on the left, what was tried on the right."""
    accuracies = by_arm(results, "test_accuracy")
    left, right = picture.subplots(1, 2, sharey=True, width_ratios=(1.1, 1))
    _accuracies(left, accuracies)
    _sweeps(right, list(accuracies), sweeps)


def _accuracies(axes, accuracies):
    for place, (name, values) in enumerate(accuracies.items()):
        color = COLORS.get(name, OTHERS)
        points = [100 * value for value in values]
        mean = fmean(points)
        if name in COLORS:
            axes.axvline(mean, color=color, linewidth=0.8, linestyle=":")
        axes.plot(points, [place + 0.25] * len(points), "o", color=color, alpha=0.6, markersize=3)
        error = statistics.spread(points) if len(points) > 1 else None
        axes.errorbar(mean, place, None, error, "o", color=color, markersize=7, capsize=4)
    axes.set_yticks(range(len(accuracies)), list(accuracies))
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy, %")
    axes.set_title("mean ± standard deviation, and each seed", fontsize=9)
    tidy(axes, "x")


def _sweeps(axes, names, sweeps):
    top = max((max(tried.values()) for tried in sweeps.values()), default=100)
    for place, name in enumerate(names):
        tried = sweeps.get(name, {})
        best = max(tried, key=tried.get, default=None)
        if not tried:
            axes.text(2, place, "nothing to choose", ha="center", va="center", fontsize=8)
        for column, (rate, accuracy) in enumerate(tried.items()):
            below = min((top - accuracy) / SHOWN, 1)
            color = (1 - 0.75 * below, 1 - 0.35 * below, 1 - 0.2 * below)
            axes.barh(place, 0.96, 0.92, column - 0.48, color=color)
            axes.text(
                column,
                place,
                f"{accuracy:.1f}\n{rate:g}",
                ha="center",
                va="center",
                fontsize=7,
                fontweight="bold" if rate == best else "normal",
            )
    axes.set_xticks([])
    axes.set_xlim(-0.6, 4.6)
    axes.set_title("held-out accuracy, %, and the rate tried; bold: chosen", fontsize=9)
    axes.spines[:].set_visible(False)
    axes.tick_params(left=False)
