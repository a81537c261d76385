"""Findings as text: numbers, a section of a page, and results from before the criteria."""

import math

import pytest

from reproduction import findings_report, report
from reproduction.criteria import parts
from reproduction.experiment import Experiment
from reproduction.findings import Finding, Part

CRITERIA = """
[[parts.toy]]
name = "gap"
claim = "A gap"
unit = "points"
above = 0

[[parts.toy]]
name = "ratio"
claim = "Our control: a ratio"
unit = "times"
above = 1.5
below = 3
log = true
own = true
"""
PLACES = {"gap": (1.0, 1.02), "ratio": (2.0, 2.0)}


class Toy(Experiment):
    name, title, paper, claim = "toy", "A figure", "A paper, Figure 1", "There is a gap."

    def __init__(self, measured=PLACES, blind="", caveats=""):
        self.measured, self.said, self.known = measured, blind, caveats

    def cases(self, setting):
        raise NotImplementedError

    def table(self, results):
        return "| the table |"

    def measures(self, results):
        return self.measured

    def blind(self, results):
        return self.said

    def caveats(self, results):
        return self.known

    def draw(self, picture, results):
        raise NotImplementedError


@pytest.fixture
def content(tmp_path, monkeypatch):
    """Of `results.json`, made by the criteria as they are."""
    monkeypatch.setattr(parts, "FOLDER", tmp_path)
    (tmp_path / "toy.toml").write_text(CRITERIA)
    return {
        "data": "mnist1d, 10 test samples",
        "notes": "40 training samples",
        "seeds": [1, 2],
        "command": "python -m reproduction figure toy",
        "criteria_file": parts.stamp_of("toy"),
        "settings": {"quick": False},
        "sources": {"keras_bigbatch": "0123456789abcdef"},
        "hardware": {"cores": 2, "accelerator": None, "cpu": "a CPU"},
        "versions": {"keras": "3", "backend": "jax", "jax": "0.1"},
        "trainings": [{"arm": "SB", "seed": seed, "seconds": 1.0} for seed in (1, 2)],
    }


def cells(values, unit="points", **more):
    verdict, *numbers = findings_report.cells(Finding(Part("a", "A", unit, **more), values))
    return [*numbers, verdict]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cells((1.0, 1.02), above=0), ["+1.01", "+0.88 to +1.14", "above 0 points", "reproduced"]),
        (cells((-0.004, -0.002), below=0.5)[:1], ["+0.00"]),
        (cells((2.0, 2.0), "times", above=1.5, log=True)[:1], ["2.00 times"]),
        (
            cells((2.0, 2.0), "times", above=1.5, log=True)[1:3],
            ["2.00 to 2.00 times", "above 1.5 times"],
        ),
        (
            cells((2e4, 2e4), "times", above=1.5, log=True)[:2],
            ["20,000 times", "20,000 to 20,000 times"],
        ),
        # A number that is no difference has no sign, whatever its size.
        (cells((2.76, 2.76), "", above=1.8, below=2.2)[:3], ["2.76", "2.76 to 2.76", "1.8 to 2.2"]),
        (cells((0.633, 0.633), "", below=0.7)[:1], ["0.633"]),
        (cells((0.0123, 0.0123), "", above=0)[:2], ["+0.0123", "+0.0123 to +0.0123"]),
        (cells((0.1, 0.1), "", above=-0.5, below=0.5)[:1], ["+0.100"]),
        (cells((0.0, 0.0), "", above=0)[:1], ["+0.00"]),
        # An interval that leaves out the end of the range does not look as if it touched it.
        (cells((0.004, 0.0041), above=0)[:2], ["+0.004", "+0.003 to +0.005"]),
        (cells((2.0, 2.0), "times", above=2, log=True)[:1], ["2.00 times"]),
        (cells((5.0,), above=0), ["+5.00", "-", "above 0 points", "cannot tell"]),
        (cells((5.0, math.nan), above=0), ["-", "-", "above 0 points", "cannot tell"]),
    ],
)
def test_numbers_are_tidy(found, expected):
    assert found == expected


def test_effect_and_interval_have_equal_digits():
    effect, ends, *_ = cells((0.9, 1.1), "times", above=0.1, log=True)
    assert {len(text.partition(".")[2]) for text in (effect.split()[0], ends.split()[0])} == {2}


def test_a_section_has_the_word_the_parts_and_what_must_be_known(content):
    text = report.page(Toy(caveats="Mind the gap."), content)
    table = text[text.index("**Reproduced** (n = 2 seeds):") :]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:6]]
    assert lines[0] == ["part of the claim", "verdict", "effect", "95 % interval", "criterion"]
    assert lines[2][:3] == ["A gap", "reproduced", "+1.01"]
    numbers = ("2.00 times", "2.00 to 2.00 times", "1.5 to 3 times")
    assert lines[3] == ["Our control: a ratio", "reproduced", *numbers]
    assert table.index("\n\nMind the gap.\n\n![A figure]") > 0
    assert "with Keras 3, jax 0.1 and `keras_bigbatch` (SHA-256 0123456789ab)." in text
    assert findings_report.OLDER not in text


def test_a_quick_run_has_no_verdict(content):
    text = report.page(Toy(), {**content, "settings": {"quick": True}})
    assert report.QUICK in text
    assert "verdict" not in text


def test_what_nobody_could_have_seen_is_said(content):
    text = "\n".join(report.judged(Toy(blind="every accuracy is 100 %"), content))
    assert text.startswith("**Cannot tell**")
    assert "reproduced" not in text
    assert text.endswith("This cannot show a difference: every accuracy is 100 %.")


@pytest.mark.parametrize("stamp", [None, {"name": "toy.toml", "sha256": "0" * 64}])
def test_results_of_other_criteria_are_shown_and_named(content, stamp):
    text = report.judged(Toy(), {**content, "criteria_file": stamp})
    assert text[0].startswith("**Reproduced**")
    assert text[-1] == findings_report.OLDER
    del content["criteria_file"]  # as results from before have it
    assert report.judged(Toy(), content)[-1] == findings_report.OLDER


@pytest.mark.parametrize(
    "measured",
    [{"gap": (1.0, 1.0)}, {**PLACES, "more": (1.0, 1.0)}, {**PLACES, "gap": (1.0,)}],
)
def test_what_the_criteria_do_not_ask_for_is_refused_unless_it_is_older(content, measured):
    with pytest.raises(ValueError, match="toy: the criteria want "):
        report.judged(Toy(measured), content)
    lead, table, note = report.judged(Toy(measured), {**content, "criteria_file": None})
    assert lead == "**Cannot tell** (n = 2 seeds):"
    assert table.count("cannot tell") == 2
    assert note == findings_report.OLDER


def test_one_seed_is_one(content):
    one = {**content, "trainings": content["trainings"][:1]}
    lead, *_ = report.judged(Toy({"gap": (1.0,), "ratio": (2.0,)}), one)
    assert lead == "**Cannot tell** (n = 1 seed):"
