"""What the seeds say of the parts of a paper's claim, by the criteria's files."""

import math
from dataclasses import dataclass

from reproduction.paired import OverSeeds

REPRODUCED, NOT, UNKNOWN = "reproduced", "not reproduced", "cannot tell"


@dataclass(frozen=True)
class Part:
    """A part of a claim: a number, and the range in which the claim puts it.

    Args:
        name: What the figure's `measures` calls the number.
        claim: The part in words.
        unit: What the number is.
        above: The range's lower end.
        below: Its upper end.
        log: Whether the number is a ratio, whose mean and interval are those of its logarithm.
        own: Whether it is a control of ours, which the paper does not claim.
    """

    name: str
    claim: str
    unit: str
    above: float = -math.inf
    below: float = math.inf
    log: bool = False
    own: bool = False

    @property
    def criterion(self):
        """As in "above 0", "0.8 to 1.25"."""
        if self.below == math.inf:
            return f"above {self.above:g}"
        if self.above == -math.inf:
            return f"below {self.below:g}"
        return f"{self.above:g} to {self.below:g}"


@dataclass(frozen=True)
class Finding:
    """A part with its number, one a seed.

    Args:
        part: The criterion.
        values: One a seed.
        blind: Why the number could not have come out otherwise, such as accuracies that are all
            100 %; empty if it could.
    """

    part: Part
    values: tuple[float, ...]
    blind: str = ""

    @property
    def count(self):
        """The seeds."""
        return len(self.values)

    @property
    def effect(self):
        """The mean over the seeds, of a ratio the geometric one; NaN if one is not finite."""
        return self._back(self._seeds.mean) if self._finite else math.nan

    @property
    def interval(self):
        """Student's 95 % interval; NaN for one seed, or if a number is not finite."""
        if self.count < 2 or not self._finite:
            return math.nan, math.nan
        return tuple(map(self._back, self._seeds.interval()))

    @property
    def verdict(self):
        """Whether the interval lies inside of the range, outside, or on its border."""
        low, high = self.interval
        if self.blind or math.isnan(low):
            return UNKNOWN
        if self.part.above < low and high < self.part.below:
            return REPRODUCED
        return NOT if high < self.part.above or low > self.part.below else UNKNOWN

    @property
    def _finite(self):
        smallest = 0 if self.part.log else -math.inf  # what has a logarithm
        return all(value is not None and smallest < value < math.inf for value in self.values)

    @property
    def _seeds(self):
        return OverSeeds(tuple(map(math.log, self.values)) if self.part.log else self.values)

    def _back(self, value):
        return math.exp(value) if self.part.log else value


def outcome(findings):
    """A claim's verdict from those of its parts, less our own controls."""
    words = {finding.verdict for finding in findings if not finding.part.own}
    if words == {REPRODUCED}:
        return "Reproduced"
    if REPRODUCED in words:
        return "Partly"
    return "Not reproduced" if words == {NOT} else "Cannot tell"
