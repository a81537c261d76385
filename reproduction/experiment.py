"""What an experiment is: trainings of several arms, a table, findings and a picture of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction import training
from reproduction.criteria.parts import parts_of
from reproduction.findings import Finding
from reproduction.networks.small import network
from reproduction.runs import HERE, Case


@dataclass(frozen=True)
class Setting:
    """What the command line decides, for every experiment.

    Args:
        data: The data set.
        regime: The small batch's recipe.
        large_batch: The large batch, in samples.
        virtual_batch: Samples of a ghost batch.
        stretch: What +RA multiplies the epochs by; None for the ratio of the batches, the paper's.
        batches: Batches to compare, in samples, where an experiment compares several.
        epochs_share: What the recipe's epochs were multiplied by, for `regime`.
        quick: Whether to make everything as small as can be: it is no evidence then.
        network: Makes a model of the data's shape, its classes and a normalization layer's maker.
        optimizer: Makes an optimizer of a rate or a schedule.
        notes: What else a reader must know, such as the share of the data and of the epochs.
        train: Takes the place of `training.train` where there are several devices.
    """

    data: Any
    regime: Any
    large_batch: int
    virtual_batch: int
    stretch: float | None
    batches: tuple[int, ...]
    epochs_share: float = 1.0
    quick: bool = False
    network: Any = network
    optimizer: Any = training.sgd
    notes: str = ""
    train: Any = None

    @property
    def plain(self):
        """Keras's batch norm, with the momentum that is fair to trainings of few updates."""
        return training.plain_norm()

    @property
    def ghost(self):
        """Ghost batch norm, the same momentum."""
        return training.ghost_norm(self.virtual_batch)

    def case(self, name, plan, norm, **more):
        """A training with a plan and a normalization layer; `more` is kept with its recipe."""
        arm = training.Arm(plan, norm)

        def run(seed, progress):
            train = self.train or training.train
            return train(self.data, arm, seed, progress, self.network, self.optimizer)

        recipe = {"network": self.network.__name__, **training.recipe(arm), **more}
        return Case(name, recipe, plan.epochs, run)


def sources_of(file, *more):
    """The files, beside `experiments.SOURCES`, whose text decides the outcome of a figure.

    Args:
        file: The figure's own; what its folder shares counts too.
        more: Others, by their paths in the package.
    """
    own = Path(file)
    shared = {path for path in own.parent.glob("[a-z]*.py") if not path.match("figure_*")}
    return (*sorted(path.relative_to(HERE).as_posix() for path in {own, *shared}), *more)


class Experiment(ABC):
    """A table or a figure of a paper, made anew.

    A class of its own for each, with these class attributes; `sources` as of `sources_of`. What
    decides its claim is in a file of `criteria`, under its name.
    """

    name: str
    title: str
    paper: str
    claim: str
    sources: tuple[str, ...] = ()

    @property
    def criteria(self) -> str:
        """What the criteria's file calls the claim."""
        return self.name

    @abstractmethod
    def cases(self, setting: Setting) -> list[Case]:
        """The trainings, in the order in which they are made for a seed."""

    @abstractmethod
    def table(self, results: list[dict[str, Any]]) -> str:
        """The results as a table in Markdown.

        Each result is one training: `arm`, `seed`, its recipe and what it returned.
        """

    @abstractmethod
    def measures(self, results: list[dict[str, Any]]) -> dict[str, Sequence[float]]:
        """By the name of each part of the claim its number, one a seed in the order of seeds."""

    def blind(self, results: list[dict[str, Any]]) -> str:  # noqa: ARG002
        """Why nothing could have been seen, such as accuracies that are all 100 %; or nothing."""
        return ""

    def caveats(self, results: list[dict[str, Any]]) -> str:  # noqa: ARG002
        """What a reader must know before he believes the findings, in sentences; or nothing."""
        return ""

    def findings(self, results: list[dict[str, Any]]) -> list[Finding]:
        """What the seeds say of each part of the claim, by the criteria's file.

        Raises:
            ValueError: If what is measured is not what the file decides by, of each seed.
        """
        parts, measured = parts_of(self.criteria), self.measures(results)
        seeds = len({result["seed"] for result in results})
        wanted = dict.fromkeys((part.name for part in parts), seeds)
        found = {name: len(values) for name, values in measured.items()}
        if wanted != found:
            raise ValueError(f"{self.name}: the criteria want {wanted} numbers, not {found}")
        blind = self.blind(results)
        return [Finding(part, tuple(measured[part.name]), blind) for part in parts]

    @abstractmethod
    def draw(self, picture: Any, results: list[dict[str, Any]]) -> None:
        """Draws the results on a matplotlib figure, which is empty."""
