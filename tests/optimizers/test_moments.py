"""Moved optimizers keep the deviation and the drift of a noisy trajectory, and wrong rules do not.

At a noise of 20 a sample the gradient noise scale is 4 444 samples at the start, far above the
batches here. One ratio has a standard error of `sqrt(2) / sqrt(2 * WEIGHTS)` = 1.1 % in the
deviation, and of at most 2.5 % in the drift, the first of the random walk's.
"""

import math
import warnings

import numpy as np
import pytest
from keras import optimizers

from keras_bigbatch.optimizers import scale_optimizer
from reproduction import moments_rules
from reproduction.moments_rules import Rule, moved
from reproduction.trajectories import START, follow

BATCH, UPDATES, NOISE, WEIGHTS = 4, 2048, 20.0, 8192
LOW, HIGH = 0.8, 1.25
# By the optimizer, the rule that keeps the moments (None for the table's) and one that does not.
CASES = {
    "SGD": (lambda: optimizers.SGD(2.5e-4), "linear", "sqrt"),
    "momentum": (lambda: optimizers.SGD(5e-5, momentum=0.8), "linear", "sqrt"),
    "Adam": (lambda: optimizers.Adam(1e-3), None, "linear"),
    "AdamW": (lambda: optimizers.AdamW(1e-3, weight_decay=0.5), None, "linear"),
    "Nadam": (lambda: optimizers.Nadam(1e-3), None, "linear"),
    "RMSprop": (lambda: optimizers.RMSprop(1e-3, rho=0.99), None, "linear"),
    "Adagrad": (lambda: optimizers.Adagrad(0.03), None, "sqrt"),
}
each_optimizer = pytest.mark.parametrize("name", CASES)


def low(name):
    """Adagrad's first steps are its largest, and a large batch makes fewer of them."""
    return 0.75 if name == "Adagrad" else LOW


def moments(made, ratio, seed):
    return follow(made, BATCH * ratio, UPDATES // ratio, (NOISE,), WEIGHTS, seed)


def moved_by(rule, make, ratio):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the rule is not the table's
        return scale_optimizer(make(), BATCH, BATCH * ratio, rule)


@pytest.fixture(scope="module")
def small():
    return moments({name: make() for name, (make, _, _) in CASES.items()}, 1, 1)


@pytest.fixture(scope="module")
def right():
    made = {name: moved_by(rule, make, 16) for name, (make, rule, _) in CASES.items()}
    return moments(made, 16, 2)


@pytest.fixture(scope="module")
def wrong():
    made = {name: moved_by(rule, make, 64) for name, (make, _, rule) in CASES.items()}
    decay_left = moved_by(None, CASES["AdamW"][0], 64)
    decay_left.weight_decay = CASES["AdamW"][0]().weight_decay
    return moments({**made, "decay left": decay_left}, 64, 3)


@each_optimizer
def test_the_rule_keeps_deviation_and_drift(small, right, name):
    for key, values in right[name].items():
        ratios = values / small[name][key]
        assert ((ratios > low(name)) & (ratios < HIGH)).all(), (key, ratios)


@each_optimizer
def test_a_wrong_rule_is_one_and_a_half_times_out_of_bounds(small, wrong, name):
    ratios = wrong[name]["deviation"] / small[name]["deviation"]
    assert ((ratios < low(name) / 1.5) | (ratios > HIGH * 1.5)).all(), ratios


def test_a_decay_that_is_left_holds_the_mean_back(small, wrong):
    ratios = wrong["decay left"]["drift"] / small["AdamW"]["drift"]
    assert (ratios[:2] < LOW / 1.5).all(), ratios


def test_trajectories_of_sgd_have_the_moments_of_the_closed_form(small):
    rate, updates = 2.5e-4, UPDATES * np.array([[0.25], [0.5], [1.0]])
    kept = (1 - rate) ** updates
    deviation = rate * NOISE / math.sqrt(BATCH) * np.sqrt((1 - kept**2) / (1 - (1 - rate) ** 2))
    found = small["SGD"]
    np.testing.assert_allclose(found["deviation"], deviation, rtol=4 / math.sqrt(2 * WEIGHTS))
    errors = (found["drift"] - START * (1 - kept)) / (deviation / math.sqrt(WEIGHTS))
    assert np.abs(errors).max() < 4


@pytest.mark.parametrize("betas", ["keep", "samples"])
@each_optimizer
@pytest.mark.filterwarnings("ignore:Betas of")
def test_the_package_and_the_measurement_move_alike(name, betas):
    make, rule, _ = CASES[name]
    found = scale_optimizer(make(), BATCH, BATCH * 16, rule, betas=betas).get_config()
    rate = rule or {"Adagrad": "none"}.get(name, "square root")
    kept = "power" if betas == "samples" and name != "momentum" else "left"
    decay = "moved" if name == "AdamW" else None
    expected = moved(make(), 16, Rule(rate, kept, decay)).get_config()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if isinstance(value, float):
            assert found[key] == pytest.approx(value, rel=1e-6), key
        elif key != "name":
            assert found[key] == value, key


def test_rules_of_the_measurement():
    """Each rate by each choice of betas, momentum with its rate, decay moved or left."""
    counts = {
        name: len(moments_rules.rules(make())) for name, make in moments_rules.OPTIMIZERS.items()
    }
    assert counts == {
        **dict.fromkeys(("SGD", "Adagrad", "Ftrl"), 3),
        **dict.fromkeys(("Adam", "Nadam", "RMSprop", "Adamax", "Lion", "Adadelta"), 6),
        "SGD, momentum": 7,
        "AdamW": 8,
    }
