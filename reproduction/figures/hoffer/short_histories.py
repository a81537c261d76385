"""Trainings whose histories are short enough to be kept: points at equal ratios, six digits."""

import dataclasses

from reproduction.runs import six_digits

DISTANCES_A_DECADE = 10  # as often as the callback measures in between the epochs' ends
EPOCHS_A_DECADE = 40


def shortened(case):
    """The case, its training's histories short."""

    def run(seed, progress):
        result = case.run(seed, progress)
        curve = {"epoch": list(range(1, case.epochs + 1)), **result["curve"]}
        return {
            **result,
            "weight_distance": log_spaced(result["weight_distance"], "update", DISTANCES_A_DECADE),
            "curve": log_spaced(curve, "epoch", EPOCHS_A_DECADE),
        }

    return dataclasses.replace(case, run=run)


def log_spaced(history, place, points_a_decade):
    """The history at 1, 2, ..., 9, at `10 ** (i / points_a_decade)` and at its end.

    `WeightDistance` measures at the end of each epoch too, and the large batch has many epochs:
    without this its late updates would outweigh the early ones in a fit.

    Args:
        history: Lists of equal length, by name.
        place: Which of them says where: whole numbers from 1 on, rising.
        points_a_decade: How many are kept from 10 to 100, and so on.
    """
    places = history[place]
    wanted, exponent = {*range(1, 10), places[-1]}, points_a_decade
    while (point := round(10 ** (exponent / points_a_decade))) <= places[-1]:
        wanted.add(point)
        exponent += 1
    kept = [i for i, value in enumerate(places) if value in wanted]
    return {name: [_shortened(values[i]) for i in kept] for name, values in history.items()}


def _shortened(value):
    return value if isinstance(value, int) else six_digits(value)
