"""Make one training of each published result again, and hold it against what is published.

It is the shortest training of the last seed. On the processor that a page names, and as many cores
of it, the accuracies come out the same, to the digits that the page has. Another sums in another
order, and a training may end some tenths of a point from there: that is said, and is no failure.
"""

import importlib
import json
import shlex
import sys

from reproduction.runs import ProgressLine, hardware

DIGITS = 5e-5  # half of the last digit of an accuracy such as 95.87 %
# Makers of cases, by command; what is not here has a command of its own that makes all of it.
CASES = {
    "figure": "experiments",
    "table1": "experiments",
    "controls": "controls",
    "question": "questions.command",
}


def main(options):
    """A line a folder; exits with 1 if a number differs."""
    differ = []
    for folder in options.folders:
        if not (folder / "results.json").exists():
            continue  # a page beside the folders
        content = json.loads((folder / "results.json").read_text())
        words = shlex.split(content["command"])[3:]
        if words[0] not in CASES:
            print(f"{folder.name}: made again by `{content['command']}` only")
            continue
        published = shortest(content)
        case = case_of(words, content, published["arm"])
        result = case.run(published["seed"], ProgressLine(folder.name, case.epochs))
        apart = differences(published, result)
        made_by, here = (
            f"{machine['cores']} x {machine['cpu']}"
            for machine in (content["hardware"], hardware())
        )
        named = f"{folder.name}: {published['arm']!r}, seed {published['seed']}"
        if apart and made_by != here:
            named += f", made by {made_by}, here {here}"
        elif apart:
            differ.append(folder.name)
        print(f"{named}: {'; '.join(apart) or 'the same'}", flush=True)
    if differ:
        sys.exit(f"reproduction: different from what is published: {', '.join(differ)}")


def shortest(content):
    """The training of the last seed that took least time."""
    last = content["seeds"][-1]
    mine = [each for each in content["trainings"] if each["seed"] == last]
    return min(mine, key=lambda each: each["seconds"])


def case_of(words, content, arm):
    """The case that made an arm.

    Args:
        words: Those of the command line.
        content: Of `results.json`.
        arm: Its name.
    """
    from reproduction.__main__ import parse

    module = importlib.import_module(f"reproduction.{CASES[words[0]]}")
    (case,) = (case for case in module.cases_of(parse(words), content) if case.arm == arm)
    return case


def differences(published, result):
    """What differs, in words: accuracies by the last digit of a page, else by a hundredth."""
    said = []
    for name, value in published.items():
        other = result.get(name)
        if name == "seconds" or not isinstance(value, float) or not isinstance(other, float):
            continue
        bound = DIGITS if name.endswith("accuracy") else abs(value) / 100
        if not abs(value - other) <= bound:
            said.append(f"{name} {value:.6g} published, {other:.6g} now")
    return said
