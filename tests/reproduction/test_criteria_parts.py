"""The parts of the claims: what the files have, and what is refused."""

import hashlib
import math

import pytest

from reproduction import experiments
from reproduction.criteria import parts
from reproduction.findings import Part

GAP = 'name = "gap"\nclaim = "A gap"\nunit = "points"\n'


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Writes a file of criteria, the only one."""
    monkeypatch.setattr(parts, "FOLDER", tmp_path)

    def write(text, name="a.toml"):
        (tmp_path / name).write_text(text)

    return write


def test_parts_are_what_the_file_says(written):
    ratio = 'name = "ratio"\nclaim = "A ratio"\nunit = "times"\nbelow = 2\nlog = true\nown = true\n'
    written(f"[[parts.fig-1]]\n{GAP}above = 0\n\n[[parts.fig-1]]\n{ratio}")
    assert parts.parts_of("fig-1") == [
        Part("gap", "A gap", "points", above=0),
        Part("ratio", "A ratio", "times", below=2, log=True, own=True),
    ]


def test_a_stamp_is_the_digest_of_the_file_that_has_the_claim(written):
    text = f"[[parts.fig-1]]\n{GAP}above = 0\n"
    written(text)
    written(f"[[parts.fig-2]]\n{GAP}above = 0.5\n", "b.toml")
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert parts.stamp_of("fig-1") == {"name": "a.toml", "sha256": digest}
    assert parts.stamp_of("fig-2")["name"] == "b.toml"
    assert parts.parts_of("fig-2")[0].above == 0.5
    written(text.replace("above = 0", "above = 1"))
    assert parts.stamp_of("fig-1")["sha256"] != digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[parts.fig-2]]\n" + GAP + "above = 0\n", r"no criteria for 'fig-1': .*parts\.fig-1"),
        ("[[parts.fig-1]]\n" + GAP, "has no range"),
        ("[[parts.fig-1]]\n" + GAP + "above = 1\nbelow = 1\n", "has no range"),
        ("[[parts.fig-1]]\n" + GAP + "above = 0\nleast = 1\n", r"Received: \['above', 'claim', "),
        ("[[parts.fig-1]]\nname = 'gap'\nunit = ''\nabove = 0\n", r"Received: \['above', 'name'"),
        (2 * ("[[parts.fig-1]]\n" + GAP + "above = 0\n"), r"one name. Received: \['gap', 'gap'\]"),
    ],
)
def test_what_decides_nothing_is_refused(written, text, message):
    written(text)
    with pytest.raises(ValueError, match=message):
        parts.parts_of("fig-1")


@pytest.mark.parametrize("name", experiments.everything())
def test_every_experiment_has_parts(name):
    experiment = experiments.everything()[name]
    found = parts.parts_of(experiment.criteria)
    assert any(not part.own for part in found)
    for part in found:
        assert not part.log or part.above > 0 or part.below < math.inf
        assert "|" not in part.claim + part.unit  # of a table in Markdown
        assert not part.claim.endswith(".")
