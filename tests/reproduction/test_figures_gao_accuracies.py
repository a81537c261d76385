"""What Gao & Zhong's figures of accuracies say of results with known answers."""

import keras
import pytest

from reproduction.figures.gao_zhong import figure_9 as gao_9
from reproduction.figures.gao_zhong import figure_11 as gao_11
from reproduction.figures.gao_zhong import figure_16 as gao_16
from reproduction.figures.gao_zhong.figure_1 import Figure1
from reproduction.figures.gao_zhong.figure_9 import Figure9
from reproduction.figures.gao_zhong.figure_11 import Figure11
from reproduction.figures.gao_zhong.figure_16 import Figure16
from reproduction.findings import NOT, UNKNOWN
from tests.reproduction.made_up import SEEDS, draws, seeds_of, sign, training, verdicts

if keras.backend.backend() != "torch":
    pytest.skip("findings and tables from numbers", allow_module_level=True)


@pytest.mark.parametrize(
    ("same", "scaled", "noise", "wanted"),
    [
        (0.8, 0.85, 1e-4, {}),
        (0.91, 0.85, 1e-4, {"unchanged rate": NOT}),
        (0.8, 0.91, 1e-4, {"square-root rate": NOT}),
        (0.8, 0.899, 1e-2, {"square-root rate": UNKNOWN}),
    ],
)
def test_1(same, scaled, noise, wanted):
    accuracy = {("none", 10): 0.9, ("none", 40): same, ("sqrt", 40): scaled}

    def make(arm, seed):
        rule = "sqrt" if arm.startswith("sqrt") else "none"
        batch = int(arm.partition(", ")[2])
        of_arm = noise * sign(seed) * (rule == "sqrt")
        level = accuracy[rule, batch] - seed / 10 + of_arm
        return training(level, 0.98 if batch == 40 else 1.0, batch=batch, rule=rule)

    results = seeds_of(make, ["same rate, 10", "same rate, 40", "sqrt rate, 40"])
    assert verdicts(Figure1(), results) == wanted
    measured = Figure1().measures(results)
    assert measured["unchanged rate"] == pytest.approx([100 * (0.9 - same)] * len(SEEDS))
    assert "same rate, 40: 98.0 %; sqrt rate, 40: 98.0 %)" in Figure1().caveats(results)
    *_, first, _ = Figure1().table(results).splitlines()
    assert first.count("65.00 ± ") == 2  # the regime's own batch has one training for both rules


def discarding(growth, gains):
    """Results of Figure 9: gradients, and trainings that gain so many points at their rate."""

    def make(arm, seed):
        if arm.startswith("gradient"):
            share = float(arm.split()[1].rstrip("%")) / 100
            grown = (1 + growth * share) * (1 + sign(seed) * share / 1e3)
            return {"gradients": {"conv1d 1": 5.0, "dense 1": grown * seed}}
        gain = gains[arm.partition(",")[0]] * ("discarded" in arm)
        level = 0.8 + gain / 100 * (1 + sign(seed) / 10) - seed / 1e2
        return training(0.5, level, curve={"accuracy": [0.5, level], "loss": [1.0, 0.5]})

    measured = [f"gradient {fraction:.0%}" for fraction in gao_9.FRACTIONS]
    return seeds_of(make, [*measured, "LB", "LB, 30% discarded", "+LR", "+LR, 30% discarded"])


@pytest.mark.parametrize(
    ("growth", "unchanged", "scaled", "wanted"),
    [
        (2.0, 2, 2, {}),
        (1.0, 2, 2, {"batch": NOT}),
        (0.5, 2, 2, {"kept": NOT, "batch": NOT}),  # as chance may do: 1.15 times
        (2.0, -2, 2, {"LB": NOT}),
        (2.0, 2, -2, {"+LR": NOT}),
    ],
)
def test_9(growth, unchanged, scaled, wanted, tmp_path):
    results = discarding(growth, {"LB": unchanged, "+LR": scaled})
    assert verdicts(Figure9(), results) == wanted
    found = {each.part.name: each.effect for each in Figure9().findings(results)}
    ratio = 1 + 0.3 * growth
    assert (found["kept"], found["batch"]) == pytest.approx((ratio, 0.7 * ratio), rel=1e-4)
    assert (found["LB"], found["+LR"]) == pytest.approx((unchanged, scaled))
    assert "22.5 points at LB's rate and 22.5 points at +LR's" in Figure9().caveats(results)
    gradients, _, accuracies = Figure9().table(results).partition("\n\n")
    assert len(gradients.splitlines()) == 2 + len(gao_9.FRACTIONS)
    assert len(accuracies.splitlines()) == 2 + 4
    assert draws(Figure9(), results, tmp_path)


@pytest.mark.parametrize(
    ("levels", "spreads", "wanted"),
    [
        ((0.80, 0.85, 0.80), (1e-2, 1e-3), {}),
        ((0.80, 0.85, 0.90), (1e-2, 1e-3), {"equal updates": NOT}),
        ((0.90, 0.85, 0.80), (1e-2, 1e-3), {"equal epochs": NOT}),
        ((0.80, 0.801, 0.75), (2e-2, 1e-3), {"equal epochs": UNKNOWN}),
        ((0.80, 0.85, 0.80), (1e-3, 1e-2), {"less apart": NOT}),
    ],
)
def test_11(levels, spreads, wanted):
    plain, small, _ = gao_11.ARMS

    def make(arm, seed):
        spread = {plain: spreads[0], small: spreads[1]}.get(arm, 0.0)
        return training(levels[gao_11.ARMS.index(arm)] + spread * sign(seed))

    results = seeds_of(make, gao_11.ARMS)
    assert verdicts(Figure11(), results) == wanted
    apart = Figure11().measures(results)["less apart"]
    assert apart == pytest.approx([100 * (spreads[0] - spreads[1])] * len(SEEDS))
    assert Figure11().caveats(results) == ""


@pytest.mark.parametrize(
    ("mclr", "lars", "noise", "wanted"),
    [
        (0.990, 0.992, 1e-4, {}),
        (0.985, 0.992, 1e-4, {"training accuracy": NOT}),
        (0.992, 0.985, 1e-4, {"training accuracy": NOT}),
        (0.985, 0.988, 5e-3, {"training accuracy": UNKNOWN}),
        (1.0, 1.0, 0.0, {"training accuracy": UNKNOWN}),
    ],
)
def test_16(mclr, lars, noise, wanted, tmp_path):
    def make(arm, seed):
        level = {"MCLR": mclr + noise * sign(seed), "LARS": lars}.get(arm, 1.0)
        return training(0.9, level, accuracies=[0.5, 0.9])

    results = seeds_of(make, gao_16.RATES)
    assert verdicts(Figure16(), results) == wanted
    blind = Figure16().blind(results)
    assert bool(blind) == (mclr == lars)
    measured = Figure16().measures(results)["training accuracy"]
    assert sum(measured) / len(measured) == pytest.approx(100 * (mclr - lars))
    assert draws(Figure16(), results, tmp_path)
