"""The criteria's sentences as the pages show them, by `wording.toml`."""

import re
import tomllib
from pathlib import Path

WORDING = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())


def plain(text):
    """A claim, or its unit.

    Args:
        text: As the criteria have it.
    """
    return WORDING["claims"].get(text, text)


def difference(name):
    """The name of a difference of test accuracy: "LB over SB" is "LB vs. SB".

    Args:
        name: As the criteria have it.
    """
    return WORDING["differences"].get(name) or re.sub(r",? (over|against) ", " vs. ", name)


def decision(text):
    """What depends on a difference.

    Args:
        text: As the criteria have it, on one line or several.
    """
    text = " ".join(text.split())
    return WORDING["decisions"].get(text, text)
