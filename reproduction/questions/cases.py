"""The trainings of a question that is answered, to make one of them again."""

from reproduction.data import arrays
from reproduction.questions import distance, ghost_size, onset
from reproduction.recipes.demo import recipe_for, small_batch_regime


def of_ghost_size(content):
    """Each cell at the rate that was chosen."""
    criteria = ghost_size.GhostSizes(ghost_size.NAME)
    data = arrays.load(content["data"], draw=_entry(criteria, content)["draw"])
    updates = criteria.content["runs"]["updates"]
    return [
        cell.case(data, content["rates"][cell.name], updates)
        for cell in criteria.arms(content["data"])
    ]


def of_onset(content):
    """Each cell on its training set."""
    criteria = onset.Onsets(onset.NAME)
    entry = _entry(criteria, content)
    cells = criteria.arms(content["data"])
    sets = {
        examples: arrays.drawn_mnist1d(examples, entry["training_draw"], entry["draw"])
        for examples in {cell.examples for cell in cells}
    }
    return [cell.case(sets[cell.examples], criteria.content["runs"]) for cell in cells]


def of_distance(content):
    """Each arm; the steered ones follow distances that are published."""
    criteria = distance.Distances(distance.NAME)
    data = arrays.load(content["data"], draw=_entry(criteria, content)["draw"])
    recipe = recipe_for(content["data"])
    sizes = recipe["small_batch"], recipe["epochs"], data.examples, recipe["learning_rate"]
    distances = {(each["arm"], each["seed"]): each["distance"] for each in content["trainings"]}
    given = small_batch_regime(*sizes), recipe["large_batch"], lambda *whose: distances[whose]
    arms = criteria.arms(content["data"])
    return [distance.case(data, arm, *given, criteria.content["runs"]) for arm in arms]


CASES = {
    ghost_size.NAME: of_ghost_size,
    onset.NAME: of_onset,
    distance.NAME: of_distance,
}


def _entry(criteria, content):
    return criteria.content["data"][content["data"]]
