"""From the trainings of several training sets and batches to their page, from the JSON alone."""

import itertools
import math
from statistics import fmean

from reproduction.moves.report import ended, hypotheses_table
from reproduction.paired import OverSeeds
from reproduction.plotting import means, tidy
from reproduction.report import markdown_table
from reproduction.statistics import FITTED

KINDS = {0: "plain batch norm", 10: "ghosts of 10"}
AFTERWARDS = (
    "The onset is relative to the best batch that was tried, and the grids begin at different "
    "batches. The following was not planned and decides nothing. It repeats the analysis with only "
    "the batches from the smallest one that all training sets have in common."
)


def page(criteria, content, pictures):
    """The generated part of a page: the `text` of a `places.Place`."""
    kinds = [ghost for ghost in KINDS if curves(criteria, content, ghost)]
    return ended(
        content,
        "## The verdicts",
        "\n".join(f"- {answer(criteria, content, ghost)}" for ghost in kinds),
        "\n".join([AFTERWARDS, "", *(f"- {afterwards(criteria, content, g)}" for g in kinds)]),
        onsets_table(criteria, content),
        pictures["errors"],
        *(errors_table(criteria, content, ghost) for ghost in kinds),
        noise_table(content),
        hypotheses_table(criteria, content),
    )


def curves(criteria, content, ghost):
    """By training samples, seed and batch, the test error in percent and the training accuracy."""
    cells = {cell.name: cell for cell in criteria.arms(content["data"])}
    found = {}
    for result in content["trainings"]:
        cell = cells[result["arm"]]
        if cell.ghost == ghost:
            seeds = found.setdefault(cell.examples, {})
            error = 100 - 100 * result["test_accuracy"]
            seeds.setdefault(result["seed"], {})[cell.batch] = error, result["train_accuracy"]
    return found


def onset(errors, factor):
    """The batch at which the error first is `factor` times its smallest, beyond the batch of that.

    Args:
        errors: By batch.
        factor: Above 1.

    Returns:
        The batch, between two of them by a straight line in its logarithm; and whether the error
        gets so large at all: else it is the largest batch.
    """
    batches = sorted(errors)
    best = min(batches, key=errors.get)
    wanted = factor * errors[best]
    beyond = batches[batches.index(best) :]
    for small, large in itertools.pairwise(beyond):
        if errors[large] >= wanted:
            share = (wanted - errors[small]) / (errors[large] - errors[small])
            return small * (large / small) ** share, True
    return batches[-1], False


def onsets(criteria, content, ghost, smallest=0):
    """By training samples and seed, the batch of the onset, among batches from `smallest` on."""
    factor = criteria.content["statistics"]["factor"]
    return {
        examples: {
            seed: onset({b: error for b, (error, _) in by.items() if b >= smallest}, factor)
            for seed, by in seeds.items()
        }
        for examples, seeds in curves(criteria, content, ghost).items()
    }


def powers(criteria, content, ghost, smallest=0):
    """By seed, log2 of the onset of the most samples over that of the fewest."""
    found = onsets(criteria, content, ghost, smallest)
    few, many = found[min(found)], found[max(found)]
    return OverSeeds(tuple(math.log2(many[seed][0] / few[seed][0]) for seed in sorted(few)))


def noise_scales(content, share):
    """By training samples and seed, the noise scale at a share of the epochs."""
    found = {}
    for result in content["trainings"]:
        for measured in result.get("noise") or ():
            if measured["epoch"] == round(share * result["epochs"]) and measured["value"]:
                found.setdefault(result["examples"], {})[result["seed"]] = measured["value"]
    return dict(sorted(found.items()))


def geometric(values):
    """The geometric mean."""
    return math.exp(fmean(map(math.log, values)))


def noise_power(content, share):
    """By seed, log2 of the noise scale of the most samples over that of the fewest."""
    scales = noise_scales(content, share)
    few, many = scales[min(scales)], scales[max(scales)]
    return OverSeeds(tuple(math.log2(many[seed] / few[seed]) for seed in sorted(few)))


def predictions(criteria, content):
    """log2 of the ratio of the onsets, by what decides."""
    examples = sorted({result["examples"] for result in content["trainings"]})
    return {
        "the updates": math.log2(examples[-1] / examples[0]),
        "the noise scale": noise_power(content, criteria.content["noise"]["shown"]).mean,
        "the batch itself": 0.0,
    }


def answer(criteria, content, ghost):
    """What decides, by the rule of the criteria."""
    found = powers(criteria, content, ghost)
    low, high = found.interval(criteria.confidence)
    expected = predictions(criteria, content)
    held = [name for name, power in expected.items() if low <= power <= high]
    word = f"only {held[0]} fits" if len(held) == 1 else "cannot tell"
    word = word if held else "none of the three explanations fits"
    noise = noise_power(content, criteria.content["noise"]["shown"]).interval(criteria.confidence)
    few, many = (2**power for power in noise)
    return (
        f"With {KINDS[ghost]}: **{word.replace('updates fits', 'updates fit')}**. Sixteen times "
        f"the training samples move the onset by a factor of {2**found.mean:.1f} ({2**low:.1f} to "
        f"{2**high:.1f}). The updates predict {2 ** expected['the updates']:.1f}, the noise scale "
        f"{2 ** expected['the noise scale']:.1f} ({few:.1f} to {many:.1f}), and the batch itself "
        "1.0."
    )


def afterwards(criteria, content, ghost):
    """The factor if every grid begins at the smallest batch that all have."""
    found = curves(criteria, content, ghost)
    batches = [set(next(iter(seeds.values()))) for seeds in found.values()]
    smallest = min(set.intersection(*batches))
    power = powers(criteria, content, ghost, smallest)
    low, high = power.interval(criteria.confidence)
    few = onsets(criteria, content, ghost, smallest)[min(found)].values()
    never = sum(not reached for _, reached in few)
    note = f"; {never} of {len(few)} seeds never reach the onset at {min(found):,} samples" * bool(
        never
    )
    return (
        f"With {KINDS[ghost]}, batches from {smallest} on: a factor of {2**power.mean:.1f} "
        f"({2**low:.1f} to {2**high:.1f}){note}."
    )


def onsets_table(criteria, content):
    """A row a normalization and a training set: the onset in samples and in updates."""
    epochs, rows = criteria.content["runs"]["epochs"], []
    for ghost, kind in KINDS.items():
        for examples, seeds in sorted(onsets(criteria, content, ghost).items()):
            logs = OverSeeds(tuple(math.log(batch) for batch, _ in seeds.values()))
            low, high = map(math.exp, logs.interval())
            batch = math.exp(logs.mean)
            reached = sum(there for _, there in seeds.values())
            cells = [f"{examples:,}", f"{batch:,.0f} ({low:,.0f} to {high:,.0f})"]
            updates = f"{epochs * examples / batch:,.0f}"
            rows.append([kind, *cells, updates, f"{reached} of {len(seeds)}"])
    heading = ["normalization", "training samples", "onset (batch)", "updates there", "seeds"]
    factor = criteria.content["statistics"]["factor"]
    return (
        f"{markdown_table(heading, rows)}\n\nThe onset is the batch at which the test error is "
        f"{factor:g} times its smallest: geometric mean and 95 % interval. The last column counts "
        "the seeds whose error gets that large. The others enter with their largest batch."
    )


def errors_table(criteria, content, ghost):
    """A row a batch, a column a training set: the mean test error."""
    found = curves(criteria, content, ghost)
    batches = sorted({b for seeds in found.values() for by in seeds.values() for b in by})
    rows = []
    for batch in batches:
        row = [f"{batch:,}"]
        for seeds in (found[examples] for examples in sorted(found)):
            values = [by[batch] for by in seeds.values() if batch in by]
            text = ""
            if values:
                mark = "*" * (fmean(fit for _, fit in values) < FITTED)
                text = f"{fmean(error for error, _ in values):.2f}{mark}"
            row.append(text)
        rows.append(row)
    names = [f"{examples:,} samples" for examples in sorted(found)]
    table = markdown_table([f"batch, {KINDS[ghost]}", *names], rows)
    return (
        f"{table}\n\nMean test error in %. An asterisk marks a mean training accuracy below 99 %."
    )


def noise_table(content):
    """A row a training set: the noise scale on the way."""
    examples = sorted({result["examples"] for result in content["trainings"]})
    epochs = sorted(
        {
            (each["epoch"], result["epochs"])
            for result in content["trainings"]
            for each in result.get("noise") or ()
        }
    )
    rows = []
    for count in examples:
        row = [f"{count:,}"]
        for epoch, length in epochs:
            values = noise_scales(content, epoch / length).get(count)
            row.append(f"{geometric(values.values()):,.0f}" if values else "")
        rows.append(row)
    row = [f"{examples[-1]:,} over {examples[0]:,}"]
    for epoch, length in epochs:
        power = noise_power(content, epoch / length)
        low, high = (2**end for end in power.interval())
        row.append(f"{2**power.mean:.1f} ({low:.1f} to {high:.1f})")
    rows.append(row)
    heading = ["training samples", *(f"epoch {epoch} of {length}" for epoch, length in epochs)]
    table = markdown_table(heading, rows)
    return (
        f"{table}\n\nThe gradient noise scale in samples: geometric mean over the seeds. The last "
        "row is the ratio with its 95 % interval."
    )


def draw(picture, criteria, content):
    """The error over the batch, relative to the smallest: a panel a normalization."""
    factor = criteria.content["statistics"]["factor"]
    for axes, ghost in zip(picture.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
        for number, (examples, seeds) in enumerate(
            sorted(curves(criteria, content, ghost).items())
        ):
            batches = sorted(next(iter(seeds.values())))
            rows = [[by[batch][0] for batch in batches] for by in seeds.values()]
            values = [[row[i] / min(row) for row in rows] for i in range(len(batches))]
            means(axes, batches, values, number, f"{examples:,} training samples")
        axes.axhline(factor, color="0.6", linewidth=1, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="batch, samples")
        axes.set_ylabel("test error / its smallest")
        axes.set_title(f"{KINDS[ghost]}; dotted: the onset, {factor:g}", fontsize=9)
        axes.set_yticks([1, 1.5, 2, 3, 4], ["1", "1.5", "2", "3", "4"])
        axes.minorticks_off()
        axes.legend(frameon=False)
        tidy(axes)
