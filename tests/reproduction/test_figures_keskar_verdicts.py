"""What the figures of Keskar et al. say of results with known answers."""

import math

import numpy as np
import pytest

from reproduction.criteria.parts import parts_of
from reproduction.figures.keskar.figure_3 import Path as LinePath
from reproduction.figures.keskar.figure_4 import BOXES, Sharpness
from reproduction.figures.keskar.figure_5 import WarmStart
from reproduction.figures.keskar.figure_6 import Training
from reproduction.figures.ratios import ratio, ratios
from reproduction.findings import NOT, UNKNOWN
from tests.reproduction.made_up import verdicts

SEEDS = (2, 0, 1)  # not in order, as a resumed run may have them
NOISE = (1.0, 0.98, 1.03)  # of a ratio, by seed
EFFORT = {"passes": 16, "starts": 1}


def trainings(arms):
    """Results by arm: an accuracy in percent, and what else differs, by seed or for all.

    The seeds' accuracies are far apart, all arms' alike.
    """
    results = []
    for arm, numbers in arms.items():
        for seed in SEEDS:
            mine = {k: v[seed] if isinstance(v, tuple) else v for k, v in numbers.items()}
            accuracy = (mine["accuracy"] - 10 * seed) / 100
            known = {"arm": arm, "seed": seed, "train_accuracy": 1.0, "effort": EFFORT}
            results.append({**known, **mine, "test_accuracy": accuracy})
    return results


def noisy(value):
    return tuple(value * factor for factor in NOISE)


# --- the sharpness over the batches


def batches(accuracy=92.0, **factors):
    """The largest batch's sharpness is that of the smallest times a factor, 40 if not given."""
    values = {key: factors.get(key, noisy(40.0)) for key in BOXES}
    return trainings(
        {
            "batch 20": {"batch": 20, "accuracy": 96.0, **dict.fromkeys(BOXES, 1.0)},
            "batch 100": {"batch": 100, "accuracy": 50.0, **dict.fromkeys(BOXES, 1e6)},
            "batch 1000": {"batch": 1000, "accuracy": accuracy, **values},
        }
    )


def test_sharpness():
    assert verdicts(Sharpness(), batches()) == {}
    found = {each.part.name: each for each in Sharpness().findings(batches())}
    assert found["sharpness"].effect == pytest.approx(40 * np.prod(NOISE) ** (1 / 3))
    assert found["accuracy"].effect == pytest.approx(4.0)
    assert "at most 16 passes over the training set, from 1 start of" in Sharpness().caveats(
        batches()
    )


@pytest.mark.parametrize("key", BOXES)
def test_sharpness_in_one_box(key):
    assert verdicts(Sharpness(), batches(**{key: noisy(9.0)})) == {key: NOT}
    assert verdicts(Sharpness(), batches(**{key: (200.0, 9.0, 40.0)})) == {key: UNKNOWN}


@pytest.mark.parametrize(("accuracy", "verdict"), [(96.1, NOT), ((92.0, 96.1, 98.0), UNKNOWN)])
def test_sharpness_without_a_loss_of_accuracy(accuracy, verdict):
    assert verdicts(Sharpness(), batches(accuracy)) == {"accuracy": verdict}


# --- the line between two ends


def lines(**narrow):
    """Parabolas at both ends, the large batch's as narrow as said, for each way and seed."""
    alphas = np.linspace(-0.5, 1.5, 9)
    return [
        {
            "arm": "SB to LB",
            "seed": seed,
            "train_accuracy": 1.0,
            "path": {
                "alphas": alphas.tolist(),
                **{
                    how: np.where(alphas < 0.5, alphas**2, value[seed] * (alphas - 1) ** 2).tolist()
                    for how, value in narrow.items()
                },
            },
        }
        for seed in SEEDS
    ]


NARROW, WIDE, EITHER = (8.0, 9.0, 7.0), (0.5, 0.4, 0.6), (8.0, 1.0, -6.0)


@pytest.mark.parametrize(
    ("interpolated", "estimated", "wanted"),
    [
        (NARROW, NARROW, {}),
        (WIDE, NARROW, {"interpolated": NOT}),
        (NARROW, WIDE, {"estimated": NOT}),
        (EITHER, EITHER, {"interpolated": UNKNOWN, "estimated": UNKNOWN}),
    ],
)
def test_path(interpolated, estimated, wanted):
    results = lines(interpolated=interpolated, estimated=estimated)
    assert verdicts(LinePath(), results) == wanted
    measured = LinePath().measures(results)["estimated"]
    assert measured == pytest.approx([(value - 1) / 16 for value in estimated])


# --- along the training


def courses(large=(2.0, 1.0, 4.0), small=(2.0, 1.0, 0.1), far=5.0):
    """The sharpness at the start, after the first epoch and at the end; how far SB ends."""
    ends = {"LB": (1000, large, 1.0), "SB": (40, small, far)}
    return trainings(
        {
            arm: {
                "accuracy": 95.0,
                "batch": batch,
                "sharpness": tuple([start, first, end * factor] for factor in NOISE),
                "weight_distance": tuple({"distance": [9.0, way * f]} for f in reversed(NOISE)),
            }
            for arm, (batch, (start, first, end), way) in ends.items()
        }
    )


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        (courses(), {}),
        (courses(large=(5.0, 1.0, 4.0)), {"large, from the start": NOT}),
        (courses(large=(2.0, 5.0, 4.0)), {"large, from the first epoch": NOT}),
        (courses(large=(4.0, 1.0, 4.0)), {"large, from the start": UNKNOWN}),
        (courses(small=(2.0, 0.05, 0.1)), {"small, from the first epoch": NOT}),
        (courses(small=(2.0, 9.0, 8.0)), {"large over small": NOT}),
        (courses(far=0.2), {"farther": NOT, "distance": NOT}),
        (courses(far=2.0), {"distance": NOT}),
        (courses(far=12.0), {"distance": NOT}),
    ],
)
def test_training(results, wanted):
    assert verdicts(Training(), results) == wanted


def test_training_gives_the_factors():
    found = Training().measures(courses(large=(2.0, 1.0, 4.0), small=(3.0, 0.5, 0.1), far=5.0))
    assert found["large, from the start"] == pytest.approx([2 * factor for factor in NOISE])
    assert found["large, from the first epoch"] == pytest.approx([4 * factor for factor in NOISE])
    assert found["small, from the first epoch"] == pytest.approx([0.2 * f for f in NOISE])
    assert found["large over small"] == pytest.approx([40.0] * 3)
    assert found["farther"] == found["distance"] == pytest.approx([5.0] * 3)


# --- the warm start


def warm(few=(91.1, 28.0), enough=(95.9, 0.3)):
    """Accuracy and sharpness after a few and after enough small epochs; 96 and 91 without."""
    arms = {
        "SB": (96.0, 0.05),
        "0 epochs": (91.0, 30.0),
        "1 epochs": few,
        "5 epochs": (70.0, 99.0),
        "20 epochs": enough,
    }
    return trainings(
        {
            arm: {"accuracy": accuracy, "sharpness": noisy(sharpness)}
            for arm, (accuracy, sharpness) in arms.items()
        }
    )


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        (warm(), {}),
        (warm(few=(92.0, 28.0)), {"few, accuracy": NOT}),
        (warm(few=((90.0, 91.0, 94.0), 28.0)), {"few, accuracy": UNKNOWN}),
        (warm(few=(91.0, 10.0)), {"few, sharpness": NOT}),
        (warm(enough=(90.0, 0.3)), {"enough, accuracy": NOT, "as good": NOT}),
        (warm(enough=(95.0, 0.3)), {"as good": NOT}),
        (warm(enough=((95.0, 96.0, 97.0), 0.3)), {"as good": UNKNOWN}),
        (warm(enough=(97.0, 40.0)), {"enough, sharpness": NOT}),
    ],
)
def test_warm_start(results, wanted):
    assert verdicts(WarmStart(), results) == wanted
    assert WarmStart().caveats(results).startswith("The updates are not matched")


# --- ratios


@pytest.mark.parametrize("figure", [Sharpness(), LinePath(), Training(), WarmStart()])
def test_ratios_are_judged_by_their_logarithm(figure):
    parts = parts_of(figure.criteria)
    assert all(part.log == (part.unit == "times") for part in parts)


def test_ratios_are_paired_by_seed():
    values = {"a": (6.0, 10.0, 21.0), "b": (2.0, 5.0, 7.0)}
    results = [
        {"arm": arm, "seed": seed, "value": values[arm][seed]} for seed in SEEDS for arm in "ab"
    ]
    assert ratios(results, "value", "a", "b") == [3.0, 2.0, 3.0]


@pytest.mark.parametrize("pair", [(1.0, 0.0), (None, 1.0), (1.0, None), (-2.0, -1.0)])
def test_a_ratio_of_what_is_not_positive_is_none(pair):
    assert math.isnan(ratio(*pair))
    assert math.isnan(ratio(math.nan, 1.0))
