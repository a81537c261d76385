"""How the pages word the criteria: only what the criteria say, and in a form that a table takes."""

import tomllib

import pytest

from reproduction.criteria import parts
from reproduction.wording import WORDING, decision, difference, plain


def entries(kind):
    """All entries of the criteria's files, of parts or of hypotheses."""
    found = []
    for path in sorted(parts.FOLDER.glob("*.toml")):
        content = tomllib.loads(path.read_text()).get(kind, {})
        lists = content.values() if isinstance(content, dict) else [content]
        found += [entry for each in lists for entry in each]
    return found


def test_each_sentence_that_is_reworded_is_one_of_the_criteria():
    claims = {entry[key] for entry in entries("parts") for key in ("claim", "unit")}
    names = {entry["name"] for entry in entries("hypotheses")}
    decided = {" ".join(entry.get("decides", "").split()) for entry in entries("hypotheses")}
    assert set(WORDING["claims"]) <= claims
    assert set(WORDING["differences"]) <= names
    assert set(WORDING["decisions"]) <= decided


@pytest.mark.parametrize("text", [text for kind in WORDING.values() for text in kind.values()])
def test_a_cell_of_a_table_takes_it(text):
    assert "|" not in text
    assert "\n" not in text


def test_differences_of_one_file_keep_their_own_names():
    for path in sorted(parts.FOLDER.glob("*.toml")):
        names = [entry["name"] for entry in tomllib.loads(path.read_text()).get("hypotheses", [])]
        assert len(set(map(difference, names))) == len(names)


def test_what_is_not_reworded_stays_as_it_is():
    assert plain("A claim of a test") == "A claim of a test"
    assert difference("this, over that") == "this vs. that"
    assert decision("Whether it\nenters, or not.") == "Whether it enters, or not."
