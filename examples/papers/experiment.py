"""What an experiment is: trainings of several arms, a table, a sentence and a picture of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import closing_the_gap
import keras
from closing_the_gap import Arm

import keras_bigbatch as kbb


@dataclass(frozen=True)
class Case:
    """One training of an experiment, or one measurement; it is made for each seed.

    Args:
        arm: Its name in tables and pictures.
        recipe: What it is made with, in plain JSON types: it is kept, and compared on another run.
        epochs: Length, for the progress line.
        run: Makes it, given the seed and a `ProgressLine`; returns plain JSON types. A training
            has at least what `closing_the_gap.train` returns, a measurement has `seconds`.
    """

    arm: str
    recipe: dict[str, Any]
    epochs: int
    run: Callable[[int, Any], dict[str, Any]]


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
        train: Takes the place of `closing_the_gap.train` where there are several devices.
    """

    data: Any
    regime: Any
    large_batch: int
    virtual_batch: int
    stretch: float | None
    batches: tuple[int, ...]
    epochs_share: float = 1.0
    quick: bool = False
    network: Any = closing_the_gap.network
    optimizer: Any = closing_the_gap.sgd
    notes: str = ""
    train: Any = None

    @property
    def plain(self):
        """Keras's batch norm, with the momentum that is fair to trainings of few updates."""
        return partial(keras.layers.BatchNormalization, momentum=0.9)

    @property
    def ghost(self):
        """Ghost batch norm, the same momentum."""
        return partial(kbb.GhostBatchNormalization, self.virtual_batch, momentum=0.9)

    def case(self, name, plan, norm, **more):
        """A training with a plan and a normalization layer; `more` is kept with its recipe."""
        arm = Arm(plan, norm)

        def run(seed, progress):
            train = self.train or closing_the_gap.train
            return train(self.data, arm, seed, progress, self.network, self.optimizer)

        recipe = {"network": self.network.__name__, **closing_the_gap.recipe(arm), **more}
        return Case(name, recipe, plan.epochs, run)


class Experiment(ABC):
    """A table or a figure of a paper, made anew.

    A class of its own for each, with these four class attributes. `sources` are the files, beside
    `reproduce.py`, whose text decides the outcome.
    """

    name: str
    title: str
    paper: str
    claim: str
    sources: tuple[str, ...] = ()

    @abstractmethod
    def cases(self, setting: Setting) -> list[Case]:
        """The trainings, in the order in which they are made for a seed."""

    @abstractmethod
    def table(self, results: list[dict[str, Any]]) -> str:
        """The results as a table in Markdown.

        Each result is one training: `arm`, `seed`, its recipe and what it returned.
        """

    @abstractmethod
    def verdict(self, results: list[dict[str, Any]]) -> str:
        """What the results say of the claim, in a sentence or two, made from the numbers."""

    @abstractmethod
    def draw(self, picture: Any, results: list[dict[str, Any]]) -> None:
        """Draws the results on a matplotlib figure, which is empty."""
