"""Which experiments have trainings in common: they are no evidence apart from each other."""

import json

# What decides a training, and what it is where a recipe does not say: that of the demo.
RECIPE = {
    **dict.fromkeys(("network", "batch", "batches", "epochs", "rates_from_update", "rate")),
    **dict.fromkeys(("drops", "optimizer", "virtual_batch", "small_batch", "small_rate")),
    "normalization": "BatchNormalization",
    "momentum": 0.9,
    "global_clipnorm": 5.0,
    "clip_updates": None,
    "weight_decay": 0.0,
    "augmentation": "none",
    "warmup": 0,
    "gradient_noise": 0.0,
    "discard": 0.0,
    "discarded": 0.0,
    "discard_updates": None,
}
# What all trainings of an experiment have in common: of its `settings`.
SETTINGS = ("data", "draw", "trained_on", "scored_on", "policy", "devices")
PARTS = ("small", "large")  # under these a measurement keeps the recipes of its trainings


def shared(contents):
    """The names of the experiments that have a training in common with each.

    Args:
        contents: Those of `results.json`, by name.
    """
    made = {name: trainings_of(content) for name, content in contents.items()}
    return {
        name: [other for other in made if other != name and made[other] & trainings]
        for name, trainings in made.items()
    }


def trainings_of(content):
    """What decides each training of an experiment, as text; measurements alone have none.

    Labels such as the arm's name are left out. The losses at the end tell a training too, of one
    whose recipe is written down in another way: no two trainings have them to the last digit.

    Args:
        content: Of `results.json`.
    """
    common = [content["settings"].get(name) for name in SETTINGS]
    common.append(content["versions"]["backend"])
    found = set()
    for result in content["trainings"]:
        known = [common, result["seed"]]
        for recipe in (result, *(result[part] for part in PARTS if part in result)):
            if recipe.get("epochs") and ("rates_from_update" in recipe or "rate" in recipe):
                decides = [recipe.get(name, usual) for name, usual in RECIPE.items()]
                found.add(json.dumps([*known, decides]))
        losses = [result.get(f"{part}_loss") for part in ("train", "test")]
        if None not in losses:  # as one that diverged has it
            found.add(json.dumps([*known, losses]))
    return found
