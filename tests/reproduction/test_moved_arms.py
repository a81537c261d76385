"""The optimizers of the moved recipes: what an arm moves, and nothing else."""

import math

import keras
import numpy as np
import pytest

from reproduction.criteria.reader import Criteria
from reproduction.data.arrays import Data
from reproduction.moves.arms import Arms

CRITERIA = Criteria("recipes")
BY_NAME = {arm.name: arm for arm in CRITERIA.arms("mnist1d")}
RATE, K = 0.016, 25
LEFT = {"weight_decay": 0.1, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999}
DECAYED = {**LEFT, "weight_decay": 0.1 * 5, "epsilon": 1e-7 / 5}
BETAS = {"beta_1": 0.9**K, "beta_2": 0.999**K}


@pytest.fixture(scope="module")
def arms():
    x, y = np.zeros((4000, 1), "float32"), np.zeros(4000, "int32")
    arguments = {name: each["arguments"] for name, each in CRITERIA.content["optimizers"].items()}
    data = Data("mnist1d", 10, "test", x, y, x, y)
    return Arms(data, CRITERIA.content["data"]["mnist1d"], arguments, {"AdamW": RATE, "SGD": 0.1})


@pytest.mark.parametrize(
    ("name", "factor", "numbers"),
    [
        ("AdamW small", 1, LEFT),
        ("AdamW linear x1", 25, LEFT),
        ("AdamW sqrt, betas^k x1", 5, LEFT | BETAS),
        ("AdamW whole x4 ghosts", 5, DECAYED),
        ("AdamW whole, betas^k x4", 5, DECAYED | BETAS),
        ("AdamW whole, decay by training x4", 5, {**DECAYED, "weight_decay": 0.1 * 5 / 4}),
    ],
)
def test_numbers_by_hand(arms, name, factor, numbers):
    arm = BY_NAME[name]
    case = arms.case(arm)
    recipe = case.recipe
    assert {key: recipe[key] for key in numbers} == pytest.approx(numbers, rel=1e-5)
    assert recipe["epochs"] == case.epochs == 30 * (arm.stretch or 1)
    # A cosine after a warm-up of a twentieth: half of the training is 9/19 of the cosine.
    half = factor * RATE * (1 + math.cos(math.pi * 9 / 19)) / 2
    middle = recipe["rates"][6]
    assert middle == pytest.approx(half, rel=1e-5)
    assert recipe["virtual_batch"] == (8 if name.endswith("ghosts") else None)


def test_sgd_moves_its_rate_only(arms):
    config = arms.optimizer(BY_NAME["SGD linear x1"], 30).get_config()
    small = arms.small_optimizer("SGD").get_config()
    changed = {key for key in config if config[key] != small[key]}
    assert changed - {"name"} == {"learning_rate"}
    assert arms.case(BY_NAME["SGD linear x1"]).recipe["rates"][3] == pytest.approx(2.5)


def test_an_optimizer_is_new_for_each_arm(arms):
    first, second = (arms.optimizer(BY_NAME["SGD small"], 30) for _ in range(2))
    assert isinstance(first, keras.optimizers.SGD)
    assert first is not second
