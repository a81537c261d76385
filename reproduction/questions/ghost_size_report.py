"""From the trainings of batch times ghost batch to their page, from the JSON alone."""

from reproduction.moves.report import ended, hypotheses_table, judged
from reproduction.paired import with_interval
from reproduction.plotting import means, tidy
from reproduction.report import markdown_table
from reproduction.statistics import by_arm
from reproduction.wording import difference

EQUAL = "ghosts of "  # how the hypotheses on equal ghosts begin


def page(criteria, content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    return ended(
        content,
        "## The cells",
        answer(criteria, content),
        cells_table(criteria, content),
        pictures["cells"],
        hypotheses_table(criteria, content),
        rates_table(content),
    )


def answer(criteria, content):
    """Whether accuracy is a function of the ghost batch alone, as the criteria decide it."""
    margin = criteria.content["data"][content["data"]]["margin"]
    same = {
        each.name: paired
        for each, paired in judged(criteria, content).items()
        if each.name.startswith(EQUAL)
    }
    sure = criteria.confidence
    level = [name for name, paired in same.items() if paired.equivalent(margin, sure)]
    ends = {name: paired.interval(sure) for name, paired in same.items()}
    apart = [name for name, (low, high) in ends.items() if low > margin or high < -margin]
    if len(level) == len(same):
        return "**Yes**: at equal ghosts all batches are equivalent."
    if not apart:
        return (
            f"**Cannot tell**: {len(level)} of {len(same)} differences at equal ghosts are settled."
        )
    return (
        f"**No**: of {len(same)} comparisons of batches with equal ghosts, {len(level)} show "
        f"equivalence and {len(apart)} a difference beyond the margin "
        f"({'; '.join(map(difference, apart))})."
    )


def cells_table(criteria, content):
    """A row a batch, a column a ghost batch."""
    scores = by_arm(content["trainings"], "test_accuracy")
    fits = by_arm(content["trainings"], "train_accuracy")
    cells = criteria.arms(content["data"])
    ghosts = sorted({cell.ghost for cell in cells})
    rows = []
    for batch in sorted({cell.batch for cell in cells}):
        names = {cell.ghost: cell.name for cell in cells if cell.batch == batch}
        row = [with_interval(scores.get(names.get(g), ()), fits.get(names.get(g))) for g in ghosts]
        rows.append([f"{batch:,}", *row])
    table = markdown_table(["batch", *(f"ghosts of {ghost:,}" for ghost in ghosts)], rows)
    return (
        f"{table}\n\nTest accuracy in %, mean over {len(content['seeds'])} seeds ± half of the "
        f"95 % interval, each cell after {criteria.content['runs']['updates']:,} updates. Ghosts "
        "as large as the batch are plain batch norm. An asterisk marks a mean training accuracy "
        "below 99 %."
    )


def rates_table(content):
    """What the held-out samples said of each rate."""
    rates = list(next(iter(content["sweeps"].values())))
    rows = [
        [
            name,
            *(
                f"**{score:.2f}**" if float(rate) == content["rates"][name] else f"{score:.2f}"
                for rate, score in tried.items()
            ),
        ]
        for name, tried in content["sweeps"].items()
    ]
    table = markdown_table(["held-out accuracy, %, at rate", *map(str, rates)], rows)
    return f"{table}\n\nThe chosen rate is in bold."


def draw(picture, criteria, content):
    """Accuracy over the ghost batch, a line a batch."""
    axes = picture.subplots()
    scores = by_arm(content["trainings"], "test_accuracy")
    cells = criteria.arms(content["data"])
    for number, batch in enumerate(sorted({cell.batch for cell in cells})):
        mine = [cell for cell in cells if cell.batch == batch]
        values = [[100 * score for score in scores[cell.name]] for cell in mine]
        means(axes, [cell.ghost for cell in mine], values, number, f"batch {batch:,}")
    axes.set(xscale="log", xlabel="ghost batch, samples", ylabel="test accuracy, %")
    ghosts = sorted({cell.ghost for cell in cells})
    axes.set_xticks(ghosts, [f"{ghost:,}" for ghost in ghosts])
    axes.minorticks_off()
    axes.set_title("equal updates, tuned rates; mean ± standard deviation", fontsize=9)
    axes.legend(frameon=False)
    tidy(axes)
