"""What the remedies' page and the methods' cards say of results whose right answer is known."""

import json
import re
from statistics import fmean

from reproduction.places import CARDS
from reproduction.questions import remedies_report
from reproduction.statistics import by_arm
from scripts import evidence


def test_table_has_a_row_a_remedy():
    trainings = [
        {
            "arm": name,
            "seed": seed,
            "test_accuracy": 0.9 + 0.01 * ("ghosts" in name),
            "train_accuracy": 1.0,
            "updates": 400,
            "samples": 4000,
            "seconds": 2.0,
        }
        for name in ("SB", "SAM", "SAM, ghosts", "SAM by groups, ghosts")
        for seed in (1, 2)
    ]
    text = remedies_report.remedies_table({"trainings": trainings, "seeds": [1, 2]})
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()[2:5]]
    assert rows[0][:3] == ["SB", "90.00 ± 0.00", ""]
    assert rows[1][:3] == ["SAM", "90.00 ± 0.00", "91.00 ± 0.00"]
    assert rows[2] == ["SAM by groups", "", "91.00 ± 0.00", "400", "4,000", "2.0"]


def test_the_chosen_try_is_marked():
    tried = {"SAM": {"0.2, 0.05": 91.0, "0.4, 0.05": 92.0}}
    content = {"sweeps": tried, "chosen": {"SAM": "0.4, 0.05"}}
    assert "0.2, 0.05 91.0; **0.4, 0.05** 92.0" in remedies_report.tries_table(content)


def test_a_card_has_the_remedy_and_what_stands_beside_it():
    found = {"SB": 96, "rate": 90, "rate, ghosts": 94, "LARS": 95, "SAM by groups, ghosts": 93}
    trainings = [
        {"arm": arm, "seed": seed, "test_accuracy": score / 100}
        for arm, score in found.items()
        for seed in (1, 2)
    ]
    content = {"trainings": trainings, "seeds": [1, 2]}
    content["chosen"] = {"LARS": "0.1", "SAM by groups, ghosts": "0.4, 0.2"}

    def rows(*names):
        lines = remedies_report.card(content, *names).split("\n\n")[0].splitlines()[2:]
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]

    plain = ["SGD, tuned rate", "90.00 ± 0.00", "94.00 ± 0.00"]
    small = ["SGD, batch of 40", "96.00 ± 0.00", ""]
    assert rows("LARS") == [["**LARS**", "95.00 ± 0.00, rate 0.1", ""], plain, small]
    grouped = ["**SAM by groups**", "", "93.00 ± 0.00, rate 0.4"]
    assert rows("SAM by groups") == [grouped, plain, small]
    assert rows("rate") == [plain, small]
    assert [cells[0] for cells in rows("LARS", "SAM by groups")[:2]] == [
        "**LARS**",
        "**SAM by groups**",
    ]


def test_the_gains_of_the_cards_are_those_of_the_table():
    content = json.loads((evidence.PAGES / "remedies" / "results.json").read_text())
    means = {
        arm: 100 * fmean(scores)
        for arm, scores in by_arm(content["trainings"], "test_accuracy").items()
    }
    compared = {"ghost-batch-norm": ("rate, ghosts", "rate"), "square-root-rate": ("+LR", "LB")}
    compared["regime-adaptation"] = ("longer, ghosts", "rate, ghosts")
    compared["batch-stages"] = ("batch follows", "rate")
    compared["sharpness-aware"] = ("SAM by groups, ghosts", "rate, ghosts")
    text = (evidence.ROOT / "docs" / "methods" / "index.md").read_text()
    for page, names in CARDS.items():
        arm, other = compared.get(page, (names[0], "rate"))
        gain = re.search(rf"\({page}\.md\)\n\n.*\n\n    \[gain: ([+-]\d\.\d)", text)
        assert gain[1] == f"{means[arm] - means[other]:+.1f}", page
