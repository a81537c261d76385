"""What Hoffer et al.'s figures and the stretch say of results whose right answer is known."""

import numpy as np
import pytest

from reproduction.figures.hoffer import figure_2 as hoffer_2
from reproduction.figures.hoffer import figure_4 as hoffer_4
from reproduction.figures.hoffer.figure_1 import ErrorByBatch
from reproduction.figures.hoffer.figure_2 import DistanceOverUpdates
from reproduction.figures.hoffer.figure_3 import RegimesCompared
from reproduction.figures.hoffer.figure_4 import RandomPotentialAtStart
from reproduction.figures.hoffer.figure_6 import NoiseOrRate
from reproduction.figures.hoffer.figure_7 import DistanceByBatch
from reproduction.figures.stretch import Stretch, arm_name, share

TIMES = [round(10 ** (i / 10)) for i in range(10, 31)]  # 10 to 1000


def training(arm, seed, accuracy, batch=40, rates="unchanged", **more):
    """The result of a training: accuracy in percent, distance 1."""
    return {
        "arm": arm,
        "seed": seed,
        "scored": 10_000,
        "batch": batch,
        "base_batch": 40,
        "rates": rates,
        "train_accuracy": 1.0,
        "train_loss": 0.01,
        "test_accuracy": accuracy / 100,
        "updates": 600,
        "samples": 600_000,
        "seconds": 1.0,
        "epochs": 4,
        "weight_distance": {"update": [600], "distance": [1.0]},
        **more,
    }


def trainings(arms, **more):
    """Trainings of three seeds by arm: mean accuracies in percent, 0.1 around them."""
    return [
        training(arm, seed, mean + 0.1 * (seed - 1), **{key: f(arm) for key, f in more.items()})
        for arm, mean in arms.items()
        for seed in range(3)
    ]


def batch_of(arm):
    return int(arm.split(",")[0].split()[1])


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((95, 96, 94, 92), "Reproduced: from batch 40 to 1,000 the error grows (+4.0 ± 0.4 points"),
        ((95, 96, 93, 94), "Partly: from batch 40 to 1,000 the error grows (+2.0"),
        ((95, 96, 96, 96), "Not reproduced: from batch 40 to 1,000 the error does not clearly"),
    ],
)
def test_figure_1_wants_a_gap_that_grows(accuracies, words):
    names = [f"batch {batch}" for batch in (20, 40, 100, 1000)]
    results = trainings(dict(zip(names, accuracies, strict=True)), batch=batch_of)
    sentence = ErrorByBatch().verdict(results)
    assert sentence.startswith(words)
    assert ("1,000 is 1.0 points better than 100" in sentence) == words.startswith("Partly")


def figure_2(before, after, law=np.log):
    """Distances `slope * law(t)` at batches 40 and 1000, of three seeds around these slopes."""
    arms = {
        "batch 40, before": (40, "unchanged", 4.0),
        "batch 1000, before": (1000, "unchanged", 4.0 / before),
        "batch 1000, after": (1000, "sqrt", 4.0 / after),
    }
    return [
        training(arm, seed, 95, batch, rates)
        | {
            "weight_distance": {
                "update": [1, *TIMES],
                "distance": [99.0, *((1 + 0.01 * seed) * slope * law(TIMES))],
            }
        }
        for arm, (batch, rates, slope) in arms.items()
        for seed in range(3)
    ]


@pytest.mark.parametrize(
    ("results", "words"),
    [
        (figure_2(1.5, 1.1), "Reproduced: the slope on ln t at batch 40 is 1.50 ± 0.00 times"),
        (figure_2(1.2, 1.1), "Partly: the slope"),
        (figure_2(1.5, 1.5), "Partly: the slope"),
        (figure_2(1.5, 1.1, np.sqrt), "Partly: the slope"),
        (figure_2(1.0, 2.0, np.sqrt), "Not reproduced: the slope"),
    ],
)
def test_figure_2_wants_slopes_apart_then_matched_and_the_log_law(results, words):
    assert DistanceOverUpdates().verdict(results).startswith(words)


def test_laws_and_slopes_are_found_without_the_first_updates():
    assert hoffer_2.best_laws(figure_2(1.5, 1.1)) == {40: "log", 1000: "log"}
    assert hoffer_2.best_laws(figure_2(1.5, 1.1, np.sqrt))[40] in ("sqrt", "power")
    sentence = DistanceOverUpdates().verdict(figure_2(1.5, 0.8))
    assert "at update 100 the latter is 1.25 ± 0.00 times as far" in sentence
    row = DistanceOverUpdates().table(figure_2(1.5, 1.1)).splitlines()[2]
    assert row.split("|")[2].strip() == "4.04 ± 0.04"
    assert row.split("|")[3].strip() == "1.000 ± 0.000"


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((96, 92, 94, 96), "Reproduced: the large batch loses 4.0 points. With"),
        ((96, 92, 96, 96), "Partly: the large batch loses 4.0"),
        ((96, 92, 92, 92), "Not reproduced: the large batch loses 4.0"),
        ((96, 96, 97, 97), "Not reproduced: the large batch loses nothing clear here"),
    ],
)
def test_figure_3_wants_the_gap_closed_by_the_updates(accuracies, words):
    results = trainings(dict(zip(("SB", "LB", "+GBN", "+RA"), accuracies, strict=True)))
    assert RegimesCompared().verdict(results).startswith(words)


@pytest.mark.parametrize(
    ("alphas", "words"),
    [
        ((2.0, 2.1), "Reproduced: with"),
        ((2.0, 3.9), "Partly: with"),
        ((3.0, 3.9), "Not reproduced: with"),
    ],
)
def test_figure_4_wants_alpha_2_in_both_modes(alphas, words):
    results = [
        {"arm": arm, "seed": seed, "alpha": {"20": alpha + 0.01 * seed}, "spread_alpha": {"20": 2}}
        for arm, alpha in zip(hoffer_4.MODES, alphas, strict=True)
        for seed in range(3)
    ]
    sentence = RandomPotentialAtStart().verdict(results)
    assert sentence.startswith(words)
    assert sentence.endswith("claimed: 2.")


@pytest.mark.parametrize(
    ("accuracies", "distance", "words", "same"),
    [
        ((92, 93, 93, 93), 1.0, "Reproduced: over the large batch the noise brings +1.0", True),
        ((92, 95, 93, 93), 1.0, "Partly: over", True),
        ((92, 93, 82, 82), 1.0, "Not reproduced: over", True),
        ((92, 93, 82, 82), 1.3, "Not reproduced: over", False),
        ((92, 93, 82, 92), 1.0, "Not reproduced: over", False),
    ],
)
def test_figure_6_wants_the_noise_to_gain_as_the_rate_does(accuracies, distance, words, same):
    arms = ("LB", "LB + LR", "LB + noise", "SB stopped")

    def history(arm):
        return {"update": [600], "distance": [distance if arm == "LB + noise" else 1.0]}

    results = trainings(dict(zip(arms, accuracies, strict=True)), weight_distance=history)
    sentence = NoiseOrRate().verdict(results)
    assert sentence.startswith(words)
    assert ("the noise makes of the large batch the small one" in sentence) == same


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((10, 5, 9), "Reproduced: at equal epochs batch 40 ends 2.00 ± 0.00 times as far"),
        ((10, 5, 4), "Partly: at equal epochs"),
        ((10, 12, 10), "Not reproduced: at equal epochs"),
    ],
)
def test_figure_7_wants_distances_apart_then_nearer(ends, words):
    arms = (("a", 40, "unchanged"), ("b", 1000, "unchanged"), ("c", 1000, "sqrt"))
    results = [
        training(arm, seed, 95, batch, rates)
        | {"weight_distance": {"update": [600], "distance": [end * (1 + seed / 10)]}}
        for (arm, batch, rates), end in zip(arms, ends, strict=True)
        for seed in range(3)
    ]
    assert DistanceByBatch().verdict(results).startswith(words)


def stretched(small=96.0, **series):
    """Accuracies by stretch; the other series have 90 % at each."""
    flat = dict.fromkeys(series["ghost"], 90.0)
    every = dict.fromkeys(("+LR", "+GBN, warm-up", "LARS"), flat)
    arms = [("SB", "SB", 1, small)] + [
        (arm_name(name, stretch), name, stretch, accuracy)
        for name, found in {**every, "+GBN": series["ghost"]}.items()
        for stretch, accuracy in found.items()
    ]
    return [
        training(arm, seed, accuracy + 0.1 * seed, series=name, stretch=stretch)
        for arm, name, stretch, accuracy in arms
        for seed in range(3)
    ]


SATURATED = {1: 91.0, 2: 93.0, 4: 95.0, 8: 95.9, 25: 96.0}


@pytest.mark.parametrize(
    ("results", "words", "stretch"),
    [
        (stretched(ghost=SATURATED), "Reproduced: with +GBN the stretch by the ratio of", 8),
        (stretched(98.0, ghost=SATURATED), "Partly: with +GBN", 8),
        (stretched(ghost={1: 91.0, 4: 93.0, 25: 96.0}), "Reproduced: with +GBN", 25),
        (stretched(ghost=dict.fromkeys((1, 4, 25), 91.0)), "Not reproduced: with +GBN", 1),
        # 2 is as good as 25 by chance: between them 4 is not.
        (stretched(ghost={1: 91.0, 2: 96.0, 4: 94.0, 25: 96.0}), "Reproduced: with +GBN", 25),
    ],
)
def test_stretch_recommends_the_smallest_within_noise(results, words, stretch):
    sentence = Stretch().verdict(results)
    assert sentence.startswith(words)
    assert f"`Regime.at(stretch={stretch})`" in sentence


def test_stretch_tells_of_the_other_series_at_the_longest():
    sentence = Stretch().verdict(stretched(ghost=SATURATED))
    assert "Beside +GBN at 25: +LR -6.0 ± " in sentence
    assert sentence.count("(1 is enough)") == 3


def test_shares_of_the_gain():
    results = stretched(ghost=SATURATED)
    assert share(results, "+GBN", 4) == pytest.approx(0.8)
    assert share(results, "+GBN", 25) == pytest.approx(1)
    assert share(results, "+LR", 4) is None
    assert Stretch().table(results).count("no clear gain") == 3 * 5
