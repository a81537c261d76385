"""What Gao & Zhong's figures of gradients, strides and losses say of known results."""

import math

import keras
import pytest

from reproduction.figures.gao_zhong import figure_3 as gao_3
from reproduction.figures.gao_zhong import figure_8 as gao_8
from reproduction.figures.gao_zhong.figure_2 import Figure2
from reproduction.figures.gao_zhong.figure_3 import Figure3
from reproduction.figures.gao_zhong.figure_4 import Figure4
from reproduction.figures.gao_zhong.figure_5 import Figure5
from reproduction.figures.gao_zhong.figure_7 import Figure7
from reproduction.figures.gao_zhong.figure_8 import Figure8
from reproduction.findings import NOT, UNKNOWN
from tests.reproduction.made_up import draws, seeds_of, sign, training, verdicts

if keras.backend.backend() != "torch":
    pytest.skip("findings and tables from numbers", allow_module_level=True)

BATCHES = [10, 20, 40]


@pytest.mark.parametrize(
    ("small", "large", "wanted"),
    [(20, 20, {}), (5, 20, {"SB": NOT}), (20, 5, {"LB": NOT}), (20, 10, {"LB": UNKNOWN})],
)
def test_2(small, large, wanted, tmp_path):
    def make(arm, seed):
        factor = {"SB": small, "LB": large}[arm] * (1 + sign(seed) / 1e3)
        radii = {"conv1d 1": [0.0, 1.0, 1.0], "batch normalization 1": [0.0, 999.0, 999.0]}
        radii |= {"conv1d 2": [1.0, None, 2.0], "dense 1": [0.0, factor, factor]}
        return {"radii": radii, "measured": [1, 2, 3], "epochs": 3}

    results = seeds_of(make, ["SB", "LB"])
    assert verdicts(Figure2(), results) == wanted
    assert Figure2().findings(results)[0].effect == pytest.approx(small, rel=1e-3)
    assert "(gamma and beta, not scaled by 10)" in Figure2().table(results)
    assert draws(Figure2(), results, tmp_path)


def gradients(floor, power=-0.5):
    """Of normal noise on a floor that all weights have: means, then that of all data."""
    noise = [4.0 * batch ** (2 * power) for batch in BATCHES]
    return {
        "gradient": [*(math.sqrt(floor**2 + 2 / math.pi * v) for v in noise), floor],
        "squared_gradient": [*(floor**2 + v for v in noise), floor**2],
    }


@pytest.mark.parametrize(
    ("dense", "convolution", "wanted"),
    [
        (gradients(0.0), gradients(0.0), {}),
        (gradients(1.0), gradients(0.0), {"dense": NOT, "layers": NOT}),
        (gradients(0.0), gradients(1.0), {"layers": NOT}),
        (gradients(0.0, -0.6), gradients(0.0, -0.4), {"dense": NOT, "dense, noise": NOT}),
        (gradients(0.0, -0.4), gradients(0.0, -0.6), {"dense": NOT, "dense, noise": NOT}),
        (gradients(0.0), gradients(0.0, -0.8), {"layers": NOT, "layers, noise": NOT}),
        (gradients(0.0), gradients(0.0, -0.2), {"layers": NOT, "layers, noise": NOT}),
    ],
)
def test_3(dense, convolution, wanted, tmp_path):
    steep = {"gradient": [9.0, 3.0, 1.0, 0.5], "squared_gradient": [81.0, 9.0, 1.0, 0.2]}

    def make(arm, seed):
        layers = {"conv1d 1": convolution, "batch normalization 1": steep, "dense 1": dense}
        return {"batches": BATCHES, "layers": layers}

    results = seeds_of(make, ["initial weights"])
    assert verdicts(Figure3(), results) == wanted
    assert draws(Figure3(), results, tmp_path)


def test_fit_of_noise_on_a_floor():
    fit = gao_3._fit({"batches": BATCHES, "layers": {"dense 1": gradients(1.0)}}, "dense 1")
    assert fit["corrected"] == pytest.approx(-0.5)
    assert fit["constant"] == pytest.approx(1.0)
    assert fit["raw"] > -0.4


def first_epochs(parameter=-0.5, own=-1.0, whole=-1.0, noise=1e-3):
    def make(batch, seed):
        value = batch ** (noise * sign(seed))
        return {
            "batch": batch,
            "updates": 120 // batch,
            "parameter_stride": value * batch**parameter,
            "own_loss_stride": value * batch**own,
            "whole_loss_stride": value * batch**whole,
        }

    return seeds_of(make, BATCHES)


@pytest.mark.parametrize(
    ("power", "noise", "wanted"),
    [
        (-0.5, 1e-3, {}),
        (-0.3, 1e-3, {"power": NOT}),
        (-0.7, 1e-3, {"power": NOT}),
        (-0.5, 0.2, {"power": UNKNOWN}),
        (0.2, 1e-3, {"falls": NOT, "power": NOT}),
    ],
)
def test_4(power, noise, wanted, tmp_path):
    results = first_epochs(parameter=power, noise=noise)
    assert verdicts(Figure4(), results) == wanted
    assert sum(Figure4().measures(results)["power"]) / 4 == pytest.approx(power)
    assert draws(Figure4(), results, tmp_path)


@pytest.mark.parametrize(
    ("own", "whole", "wanted"),
    [
        (-1.0, -1.0, {}),
        (-0.6, -1.0, {"own": NOT}),
        (-1.4, -1.0, {"own": NOT}),
        (0.3, -1.0, {"falls": NOT, "own": NOT}),
        (-1.0, -0.6, {"whole": NOT}),
        (-1.0, -1.4, {"whole": NOT}),
    ],
)
def test_7(own, whole, wanted, tmp_path):
    results = first_epochs(own=own, whole=whole)
    assert verdicts(Figure7(), results) == wanted
    results[0]["whole_loss_stride"] = -1.0  # it rises: no power
    assert verdicts(Figure7(), results)["whole"] == UNKNOWN
    assert draws(Figure7(), results, tmp_path)


@pytest.mark.parametrize(
    ("strides", "wanted"),
    [
        ((3, 2, 1), {}),
        ((3, 1, 1.2), {"stride, each batch": NOT}),
        ((1, 1.5, 1.2), {"stride": NOT, "stride, each batch": NOT}),
        ((2, 5, 0.5), {"stride, each batch": NOT, "sum, each batch": NOT}),
        (
            (1, 3, 20),
            dict.fromkeys(("stride", "stride, each batch", "sum", "sum, each batch"), NOT),
        ),
    ],
)
def test_5(strides, wanted, tmp_path):
    def make(batch, seed):
        updates = 120 // batch
        space = strides[BATCHES.index(batch)] * updates * (1 + sign(seed) / 1e3)
        return training(batch=batch, search_space=space, stride=[0.1, None], updates=updates)

    results = seeds_of(make, BATCHES)
    assert verdicts(Figure5(), results) == wanted
    measured = Figure5().measures(results)
    assert measured["sum"] == pytest.approx([power - 1 for power in measured["stride"]])
    assert draws(Figure5(), results, tmp_path)


@pytest.mark.parametrize(
    ("losses", "noise", "wanted"),
    [
        ((1, 2, 3), (0.3, 0.1, 0.3), {}),
        ((1, 2, 3), (0.3, 0.1, 0.01), {"largest": NOT}),
        ((1, 2, 3), (0.01, 0.1, 0.3), {"smallest": NOT}),
        ((3, 2, 1), (0.3, 0.1, 0.3), {"loss": NOT}),
    ],
)
def test_8(losses, noise, wanted, tmp_path):
    def make(batch, seed):
        place = BATCHES.index(batch)
        height = noise[place] + sign(seed) / 1e3
        curve = [math.exp(-t / 9 + height * (-1) ** t) for t in range(6)]
        # The rate drops after epoch 5: what comes then is not looked at.
        return training(
            batch=batch,
            train_loss=losses[place] + seed / 1e3,
            epochs=6,
            updates=12,
            rates_from_update={"0": 0.1, "10": 0.01},
            curve={"loss": [*curve[:5], 1e9], "accuracy": [0.1] * 6},
        )

    results = seeds_of(make, BATCHES)
    assert gao_8.fluctuation(results[0]) == pytest.approx((noise[0] - 1e-3) * 4 / 6**0.5)
    assert verdicts(Figure8(), results) == wanted
    assert draws(Figure8(), results, tmp_path)
