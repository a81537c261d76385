"""The same recipe at several batches, and its results by batch."""

import warnings

from reproduction.statistics import by_arm


def swept(setting):
    """The batches to compare in samples, rising, with the one that the recipe was tuned at."""
    base = setting.regime.batch
    batches = sorted({*setting.batches, base})
    if batches[-1] == base:
        raise ValueError(
            f"There must be a batch above the recipe's own, {base}, to compare it with. Received: "
            f"batches={setting.batches}. Pass larger ones with `--batch-sizes`."
        )
    return batches


def plan_at(regime, batch, rule, **arguments):
    """The plan for a batch, also for one below the recipe's own, of which `at` warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`large_batch` is below")
        return regime.at(batch, rule, **arguments)


def by_batch(results, key, rates):
    """The seeds' values of a key by batch, of the trainings with these rates.

    Args:
        results: Trainings, each with `batch`, `rates` and the key.
        key: What of them.
        rates: `"unchanged"` or `"sqrt"`.
    """
    chosen = [result for result in results if result["rates"] == rates]
    batches = {result["arm"]: result["batch"] for result in chosen}
    return {batches[arm]: values for arm, values in by_arm(chosen, key).items()}


def batch_axis(axes, batches):
    """A logarithmic axis with the batches themselves on it."""
    axes.set(xscale="log", xlabel="batch, samples")
    axes.set_xticks(list(batches), [f"{batch:,}" for batch in batches])
    axes.minorticks_off()


def ends(results):
    """The batch that the recipe was tuned at, and the largest."""
    return results[0]["base_batch"], max(result["batch"] for result in results)
