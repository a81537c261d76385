"""What the figures of Keskar et al. say of results with known answers."""

import numpy as np
import pytest

from reproduction.figures.keskar.figure_3 import Path as LinePath
from reproduction.figures.keskar.figure_4 import BOXES, Sharpness
from reproduction.figures.keskar.figure_5 import WarmStart
from reproduction.figures.keskar.figure_6 import Training

SEEDS = (0, 1, 2)


def trainings(arms, **more):
    """Results by arm: an accuracy in percent, and what else differs, by seed or for all."""
    results = []
    for arm, numbers in arms.items():
        for seed in SEEDS:
            mine = {k: v[seed] if isinstance(v, tuple) else v for k, v in numbers.items()}
            result = {"arm": arm, "seed": seed, "scored": 10_000, "train_accuracy": 1.0, **more}
            results.append({**result, **mine, "test_accuracy": mine["accuracy"] / 100})
    return results


def batches(factor, large_accuracy):
    numbers = [(20, 96.0, 1.0), (100, 95.0, factor / 2), (1000, large_accuracy, factor)]
    return trainings(
        {
            f"batch {batch}": {"batch": batch, "accuracy": accuracy, **dict.fromkeys(BOXES, value)}
            for batch, accuracy, value in numbers
        }
    )


@pytest.mark.parametrize(
    ("factor", "accuracy", "beginning", "words"),
    [
        (40.0, 92.0, "Reproduced: from 20 to 1,000", "loses 4.0 points."),
        (40.0, 96.1, "Partly: ", "loses nothing clear (+0.1)."),
        (9.0, 92.0, "Not reproduced: ", "9 times (full space, 1e-3)"),
    ],
)
def test_sharpness_verdict(factor, accuracy, beginning, words):
    sentence = Sharpness().verdict(batches(factor, accuracy))
    assert sentence.startswith(beginning)
    assert words in sentence


def lines(**narrow):
    """Parabolas at both ends, the large batch's as narrow as said, for each way and seed."""
    alphas = np.linspace(-0.5, 1.5, 9)
    paths = [
        {
            "alphas": alphas.tolist(),
            **{
                how: np.where(alphas < 0.5, alphas**2, value[seed] * (alphas - 1) ** 2).tolist()
                for how, value in narrow.items()
            },
        }
        for seed in SEEDS
    ]
    return [
        {"arm": "SB to LB", "seed": seed, "train_accuracy": 1.0, "path": path}
        for seed, path in zip(SEEDS, paths, strict=True)
    ]


def test_path_verdict():
    narrow, noisy = (8.0, 9.0, 7.0), (8.0, 1.0, -6.0)
    sentence = LinePath().verdict(lines(interpolated=narrow, estimated=narrow))
    assert sentence.startswith("Reproduced: within 0.25")
    assert "0.5 against 0.062 with estimated statistics" in sentence
    assert LinePath().verdict(lines(interpolated=narrow, estimated=noisy)).startswith("Partly")
    assert LinePath().verdict(lines(interpolated=noisy, estimated=noisy)).startswith("Not")


def courses(small, large):
    return trainings(
        {
            arm: {"accuracy": 95.0, "batch": batch, "sharpness": values}
            for arm, batch, values in (("SB", 40, small), ("LB", 1000, large))
        }
    )


def course(*ends):
    return tuple([5.0, 1.0, end] for end in ends)


@pytest.mark.parametrize(
    ("small", "large", "beginning"),
    [
        (course(0.1, 0.2, 0.1), course(3.0, 4.0, 3.0), "Reproduced: "),
        (course(1.1, 0.8, 1.2), course(3.0, 4.0, 3.0), "Partly: "),
        (course(1.1, 0.8, 1.2), course(1.0, 0.9, 1.3), "Not reproduced: "),
    ],
)
def test_training_verdict(small, large, beginning):
    results = courses(small, large)
    assert Training().verdict(results).startswith(beginning)


def test_training_verdict_names_the_factors():
    sentence = Training().verdict(courses(course(*[0.1] * 3), course(*[4.0] * 3)))
    assert "the large batch's to 4 times the value and the small batch's to 0.1 times" in sentence
    assert sentence.endswith("at the end the large batch's is 40 times the small one's.")


def warm(accuracy, sharpness, small=96.0):
    return trainings(
        {
            "SB": {"accuracy": small, "sharpness": 0.05, "small_epochs": 150},
            "0 epochs": {"accuracy": 91.0, "sharpness": 30.0, "small_epochs": 0},
            "5 epochs": {"accuracy": 93.0, "sharpness": 3.0, "small_epochs": 5},
            "20 epochs": {"accuracy": accuracy, "sharpness": sharpness, "small_epochs": 20},
        }
    )


@pytest.mark.parametrize(
    ("results", "beginning", "words"),
    [
        (warm(96.1, 0.3), "Reproduced: 20 epochs", "gain 5.1 points, the sharpness is 0.01 times"),
        (warm(94.0, 0.3), "Partly: ", "ends 2.0 points below the small batch"),
        (warm(96.0, 30.0), "Not reproduced: ", "1 times that without"),
        (warm(91.2, 0.3), "Not reproduced: ", "gain nothing clear (+0.2)"),
    ],
)
def test_warm_start_verdict(results, beginning, words):
    sentence = WarmStart().verdict(results)
    assert sentence.startswith(beginning)
    assert words in sentence
    assert sentence.endswith("The updates are not matched.")
