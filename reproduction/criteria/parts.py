"""The parts of the papers' claims, as the files of this folder have them."""

import hashlib
import math
import tomllib
from dataclasses import fields
from pathlib import Path

from reproduction.findings import Part

FOLDER = Path(__file__).parent


def parts_of(name):
    """The parts of a claim, in the file's order.

    Args:
        name: What the file calls the claim, as in `[[parts.hoffer-1]]`.

    Raises:
        ValueError: If there are none, or if one of them has no range.
    """
    _, content = _file_of(name)
    parts = [_part(name, entry) for entry in content["parts"][name]]
    names = [part.name for part in parts]
    if len(set(names)) < len(names):
        raise ValueError(f"two parts of {name!r} have one name. Received: {names}")
    return parts


def stamp_of(name):
    """The file with a claim's parts and its digest, as plain JSON types.

    Args:
        name: What the file calls the claim.
    """
    path, _ = _file_of(name)
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _file_of(name):
    for path in sorted(FOLDER.glob("*.toml")):
        content = tomllib.loads(path.read_text())
        if content.get("parts", {}).get(name):
            return path, content
    raise ValueError(
        f"no criteria for {name!r}: write what decides it as [[parts.{name}]] into a file of "
        "reproduction/criteria"
    )


def _part(name, entry):
    known = {field.name for field in fields(Part)}
    missing = {"name", "claim", "unit"} - set(entry)
    if missing or set(entry) - known:
        raise ValueError(
            f"a part of {name!r} must have name, claim and unit, and may have above, below, log "
            f"and own. Received: {sorted(entry)}"
        )
    part = Part(**entry)
    if not part.above < part.below or (part.above, part.below) == (-math.inf, math.inf):
        raise ValueError(f"the part {part.name!r} of {name!r} has no range: give above or below")
    return part
