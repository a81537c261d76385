"""What the figures of Gao & Zhong say of results with known answers."""

import math

import keras
import pytest

from reproduction import figures, report
from reproduction.figures.gao_zhong import figure_3 as gao_3
from reproduction.figures.gao_zhong import figure_8 as gao_8
from reproduction.figures.gao_zhong import figure_9 as gao_9
from reproduction.figures.gao_zhong import figure_11 as gao_11
from reproduction.figures.gao_zhong import figure_16 as gao_16

if keras.backend.backend() != "torch":
    pytest.skip("sentences and tables from numbers", allow_module_level=True)

FIGURES = {figure.name: figure() for figure in figures.FIGURES if figure.name.startswith("gao-")}
BATCHES = [10, 20, 40]


# --- verdicts on results with a known answer


def seeds_of(make, arms):
    """Results of two seeds, which differ by a little."""
    return [
        {"arm": str(arm), "seed": seed, "scored": 10_000, "seconds": 1.0, **make(arm, seed)}
        for seed in (1, 2)
        for arm in arms
    ]


def training(test=0.9, train=1.0, **more):
    return {
        "test_accuracy": test,
        "train_accuracy": train,
        "train_loss": 0.1,
        "test_loss": 0.2,
        "epochs": 2,
        "updates": 6,
        "samples": 240,
        **more,
    }


def drawn(name, results, folder):
    report.draw(
        folder / "figure.png", FIGURES[name], {"data": "", "settings": {"quick": 0}}, results
    )
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("same", "scaled", "word"),
    [(0.8, 0.85, "Reproduced"), (0.8, 0.899, "Partly"), (0.899, 0.95, "Not reproduced")],
)
def test_verdict_1(same, scaled, word):
    accuracy = {("none", 10): 0.9, ("none", 40): same, ("sqrt", 40): scaled}

    def make(arm, seed):
        rule = "sqrt" if arm.startswith("sqrt") else "none"
        batch = int(arm.partition(", ")[2])
        return training(accuracy[rule, batch] + (seed - 1.5) / 1e4, batch=batch, rule=rule)

    results = seeds_of(make, ["same rate, 10", "same rate, 40", "sqrt rate, 40"])
    verdict = FIGURES["gao-1"].verdict(results)
    assert verdict.startswith(f"{word}: a batch of 40")
    assert f"{100 * (same - 0.9):+.1f} ± " in verdict
    *_, first, second = FIGURES["gao-1"].table(results).splitlines()
    assert first.count("90.00 ± ") == 2  # the regime's own batch has one training for both rules
    assert [f"{100 * value:.2f} ± " in second for value in (same, scaled)] == [True, True]


@pytest.mark.parametrize(
    ("factor", "word"), [(20, "Reproduced"), (5, "Partly"), (1.5, "Not reproduced")]
)
def test_verdict_2(factor, word, tmp_path):
    def make(arm, seed):
        radii = {"conv1d 1": [0.0, 1.0, 1.0], "batch normalization 1": [0.0, 99.0, 99.0]}
        radii |= {"conv1d 2": [1.0, None, 2.0], "dense 1": [0.0, factor, factor * (1 + seed / 1e3)]}
        return {"radii": radii, "measured": [1, 2, 3], "epochs": 3}

    results = seeds_of(make, ["SB", "LB"])
    verdict = FIGURES["gao-2"].verdict(results)
    assert verdict.startswith(word)
    assert f"{factor:.1f} times at SB" in verdict
    assert "(gamma and beta, not enlarged)" in FIGURES["gao-2"].table(results)
    drawn("gao-2", results, tmp_path)


def gradients(floor, sigma=2.0):
    """Of normal noise on a floor that all weights have: means, then that of all data."""
    noise = [sigma**2 / batch for batch in BATCHES]
    return {
        "gradient": [*(math.sqrt(floor**2 + 2 / math.pi * v) for v in noise), floor],
        "squared_gradient": [*(floor**2 + v for v in noise), floor**2],
    }


@pytest.mark.parametrize(("floor", "word"), [(0.0, "Reproduced"), (1.0, "Partly")])
def test_verdict_3(floor, word, tmp_path):
    steep = {"gradient": [9.0, 3.0, 1.0, 0.5], "squared_gradient": [81.0, 9.0, 1.0, 0.2]}

    def make(arm, seed):
        layers = {"dense 1": gradients(floor), "batch normalization 1": steep}
        return {"batches": BATCHES, "layers": layers}

    results = seeds_of(make, ["initial weights"])
    fit = gao_3._fit(results[0], "dense 1")
    assert fit["corrected"] == pytest.approx(-0.5)
    assert fit["constant"] == pytest.approx(1.0)
    assert (fit["raw"] > -0.4) == bool(floor)
    verdict = FIGURES["gao-3"].verdict(results)
    assert verdict.startswith(word)
    assert "1.00 of sigma sqrt(2 / (pi n)), 0.71 of the paper's equation 4" in verdict
    drawn("gao-3", results, tmp_path)
    for result in results:
        result["layers"]["dense 1"] = steep
    assert FIGURES["gao-3"].verdict(results).startswith("Not reproduced")


def first_epochs(parameter=-0.5, own=-1.0, whole=-1.0, jitter=1e-3):
    def make(batch, seed):
        value = 1 + jitter * (seed - 1.5) * math.log(batch)
        return {
            "batch": batch,
            "updates": 120 // batch,
            "parameter_stride": value * batch**parameter,
            "own_loss_stride": value * batch**own,
            "whole_loss_stride": value * batch**whole,
        }

    return seeds_of(make, BATCHES)


@pytest.mark.parametrize(
    ("power", "jitter", "word"),
    [
        (-0.5, 0.001, "Reproduced"),
        (-0.3, 0.001, "Partly"),
        (-0.1, 0.5, "Not reproduced"),
        (0.2, 0.001, "Not reproduced"),
    ],
)
def test_verdict_4(power, jitter, word, tmp_path):
    results = first_epochs(parameter=power, jitter=jitter)
    assert FIGURES["gao-4"].verdict(results).startswith(word)
    if jitter < 0.1:
        assert f"that of an epoch to {power - 1:+.2f}" in FIGURES["gao-4"].verdict(results)
    drawn("gao-4", results, tmp_path)


@pytest.mark.parametrize(
    ("own", "whole", "word", "said"),
    [
        (-1.0, -1.0, "Reproduced", "on the whole training set to -1.00"),
        (-0.6, 0.5, "Partly", "it rises, to the power +0.50"),
        (-1.0, 0.0, "Partly", "it does not clearly change"),
        (0.3, -1.0, "Not reproduced", "to -1.00"),
    ],
)
def test_verdict_7(own, whole, word, said, tmp_path):
    results = first_epochs(own=own, whole=whole)
    verdict = FIGURES["gao-7"].verdict(results)
    assert verdict.startswith(word)
    assert said in verdict
    results[0]["whole_loss_stride"] = -1.0
    assert "follows no power" in FIGURES["gao-7"].verdict(results)
    drawn("gao-7", results, tmp_path)


@pytest.mark.parametrize(
    ("spaces", "word"),
    [((9, 3, 1), "Reproduced"), ((9, 10, 1), "Partly"), ((1, 2, 3), "Not reproduced")],
)
def test_verdict_5(spaces, word, tmp_path):
    def make(batch, seed):
        space = spaces[BATCHES.index(batch)] * (1 + seed / 1e3)
        return training(batch=batch, search_space=space, stride=[0.1, None])

    results = seeds_of(make, BATCHES)
    assert FIGURES["gao-5"].verdict(results).startswith(word)
    drawn("gao-5", results, tmp_path)


@pytest.mark.parametrize(
    ("losses", "noise", "word"),
    [
        ((1, 2, 3), (0.3, 0.1, 0.3), "Reproduced"),
        ((1, 2, 3), (0.3, 0.1, 0.01), "Partly"),
        ((3, 2, 1), (0.1, 0.3, 0.1), "Not reproduced"),
    ],
)
def test_verdict_8(losses, noise, word, tmp_path):
    def make(batch, seed):
        place = BATCHES.index(batch)
        height = noise[place] + seed / 1e3
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
    assert gao_8.fluctuation(results[0]) == pytest.approx((noise[0] + 1e-3) * 4 / 6**0.5)
    assert FIGURES["gao-8"].verdict(results).startswith(word)
    drawn("gao-8", results, tmp_path)


def discarding(growth, gain):
    """Results of Figure 9: gradients, and trainings that gain so many points at both rates."""

    def make(arm, seed):
        if arm.startswith("gradient"):
            share = float(arm.split()[1].rstrip("%")) / 100
            return {"gradients": {"conv1d 1": 5.0, "dense 1": (1 + growth * share) * seed}}
        level = 0.8 + gain / 100 * ("discarded" in arm) + seed / 1e4
        curve = {"accuracy": [0.5, level], "loss": [1.0, 0.5]}
        return training(level, level, curve=curve)

    measured = [f"gradient {fraction:.0%}" for fraction in gao_9.FRACTIONS]
    return seeds_of(make, [*measured, "LB", "LB, 30% discarded", "+LR", "+LR, 30% discarded"])


@pytest.mark.parametrize(
    ("growth", "gain", "word"),
    [(1.0, 2, "Reproduced"), (1.0, 0, "Partly"), (-0.5, -2, "Not reproduced")],
)
def test_verdict_9(growth, gain, word, tmp_path):
    results = discarding(growth, gain)
    verdict = FIGURES["gao-9"].verdict(results)
    assert verdict.startswith(word)
    ratio = 1 + 0.3 * growth
    assert f"kept is {ratio:.2f} times as large, {0.7 * ratio:.2f} times if" in verdict
    gradients, _, accuracies = FIGURES["gao-9"].table(results).partition("\n\n")
    assert len(gradients.splitlines()) == 2 + len(gao_9.FRACTIONS)
    assert len(accuracies.splitlines()) == 2 + 4
    drawn("gao-9", results, tmp_path)


@pytest.mark.parametrize(
    ("levels", "word"),
    [
        ((0.80, 0.85, 0.80), "Reproduced"),
        ((0.80, 0.85, 0.85), "Partly"),
        ((0.80, 0.801, 0.85), "Not reproduced"),
        ((0.85, 0.80, 0.70), "Not reproduced"),
    ],
)
def test_verdict_11(levels, word):
    def make(arm, seed):
        return training(levels[gao_11.ARMS.index(arm)] + seed / 1e4)

    verdict = FIGURES["gao-11"].verdict(seeds_of(make, gao_11.ARMS))
    assert verdict.startswith(word)
    assert "at equal epochs" in verdict


@pytest.mark.parametrize(
    ("mclr", "spread", "word"),
    [
        (0.995, 0, "Reproduced"),
        (0.95, 0.1, "Partly"),
        (0.95, 0.001, "Not reproduced"),
        (1.0, 0, "Cannot tell"),
    ],
)
def test_verdict_16(mclr, spread, word, tmp_path):
    def make(arm, seed):
        level = mclr + spread * (seed - 1.5) if arm == "MCLR" else 1.0
        return training(0.9, level, accuracies=[0.5, 0.9])

    results = seeds_of(make, gao_16.RATES)
    verdict = FIGURES["gao-16"].verdict(results)
    assert verdict.startswith(word)
    assert "+0.0 ± " in verdict
    drawn("gao-16", results, tmp_path)
