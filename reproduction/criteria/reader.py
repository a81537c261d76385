"""A file of criteria: the arms, seeds and hypotheses of an experiment, read and held to."""

import hashlib
import tomllib
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Arm:
    """One of the trainings that are compared.

    Args:
        name: As the hypotheses have it.
        group: What it is made with.
        optimizer: The optimizer's class.
        rule: That of the rate; None at the small batch.
        batch: Samples of an update.
        stretch: How many times as many epochs as the small batch; None where that is not fixed.
        virtual_batch: Samples of a ghost batch; None for plain batch normalization.
        moved: The other hyperparameters that follow the batch.
        betas: As `scale_optimizer` has it.
        decay: The same.
    """

    name: str
    group: str
    optimizer: str
    rule: str | None
    batch: int
    stretch: float | None
    virtual_batch: int | None
    moved: tuple[str, ...] = ()
    betas: str = "keep"
    decay: str = "samples"


@dataclass(frozen=True)
class Hypothesis:
    """A difference of test accuracy that decides something.

    Args:
        name: What is compared.
        better: The arms that may be better.
        than: The arms that they are compared to.
        decides: What depends on it, if anything does.
    """

    name: str
    better: tuple[str, ...]
    than: tuple[str, ...]
    decides: str = ""


class Criteria:
    """What is written in a file of this folder.

    Args:
        name: The file's, without its ending.
    """

    def __init__(self, name):
        text = (FOLDER / f"{name}.toml").read_bytes()
        self.digest = hashlib.sha256(text).hexdigest()
        self.content: dict[str, Any] = tomllib.loads(text.decode())
        self.seeds = self.content["runs"]["seeds"]
        self.confidence = self.content["statistics"]["confidence"]
        self._check_hypotheses()

    def arms(self, data):
        """The arms for a data set, in the order in which they are made."""
        return [arm for entry in self._entries("arms", data) for arm in self._arms_of(entry, data)]

    def hypotheses(self, data):
        """What is asked of a data set."""
        return [
            Hypothesis(
                entry["name"],
                tuple(entry["better"]),
                tuple(entry["than"]),
                entry.get("decides", "").strip(),
            )
            for entry in self._entries("hypotheses", data)
        ]

    def check(self, results, data):
        """Raises unless all results are of the file's arms and seeds, by this very file.

        Args:
            results: Trainings, each with its `arm`, `seed` and the `criteria` it was made by.
            data: The name of the data set.
        """
        arms = {arm.name for arm in self.arms(data)}
        for result in results:
            what = f"{result['arm']!r}, seed {result['seed']}"
            if result["arm"] not in arms or result["seed"] not in self.seeds:
                raise ValueError(f"the criteria know no {what}, on {data}")
            if result["criteria"] != self.digest:
                raise ValueError(f"{what} was made by other criteria: make it again")

    def stamped(self, case):
        """The same case of `Runs`, whose result says by which file it was made."""
        stamp = {"criteria": self.digest}
        return replace(case, run=lambda *to: {**case.run(*to), **stamp})

    def _entries(self, kind, data):
        return [each for each in self.content[kind] if data in each.get("data", [data])]

    def _arms_of(self, entry, data):
        sizes, runs = self.content["data"][data], self.content["runs"]
        batches = {
            "small": [sizes["small_batch"]],
            "between": sizes["batches"],
            "large": [sizes["large_batch"]],
        }[entry.get("batches", "large")]
        stretches = entry.get("stretches", runs["stretches"]) or [None]
        ghosts = entry.get("ghosts", runs["ghosts"])
        for batch, stretch, ghost in product(batches, stretches, ghosts):
            words = [entry["group"], entry["name"]]
            if entry.get("batches") == "between":
                words.append(str(batch))
            if stretch is not None:
                words.append(f"x{stretch:g}")
            if ghost:
                words.append("ghosts")
            yield Arm(
                name=" ".join(words),
                group=entry["group"],
                optimizer=entry["optimizer"],
                rule=entry.get("rule"),
                batch=batch,
                stretch=stretch,
                virtual_batch=sizes["virtual_batch"] if ghost else None,
                moved=tuple(entry.get("moved", ())),
                betas=entry.get("betas", "keep"),
                decay=entry.get("decay", "samples"),
            )

    def _check_hypotheses(self):
        for data in self.content["data"]:
            known = {arm.name for arm in self.arms(data)}
            asked = [(each, {*each.better, *each.than}) for each in self.hypotheses(data)]
            wrong = {each.name: arms - known for each, arms in asked if arms - known}
            if wrong:
                raise ValueError(f"hypotheses on {data} name arms that there are not: {wrong}")
