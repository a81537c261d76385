"""How long the trainings that are left will take, from those that are made."""

from collections import Counter
from statistics import fmean


class RemainingTime:
    """An estimate that each finished training makes better; as text it is as in "12 min left".

    Args:
        cases: What is made with each seed, each with its `arm` and `epochs`.
        seeds: How many seeds there are.
    """

    def __init__(self, cases, seeds):
        # A measurement has none.
        self.epochs = {case.arm: max(case.epochs, 1) for case in cases}
        self.left = Counter(dict.fromkeys(self.epochs, seeds))
        self.took = {}

    def made(self, case, seconds):
        """Counts a training that took so long, or that had taken so long earlier."""
        self.left[case.arm] -= 1
        self.took.setdefault(case.arm, []).append(seconds)

    @property
    def seconds(self):
        """Those of all that is left; an arm that was not made yet costs its epochs' share."""
        means = {arm: fmean(took) for arm, took in self.took.items()}
        an_epoch = fmean(mean / self.epochs[arm] for arm, mean in means.items())
        return sum(
            times * means.get(arm, an_epoch * self.epochs[arm]) for arm, times in self.left.items()
        )

    def __str__(self):
        seconds = self.seconds
        if not seconds:
            return ""
        return f"{seconds:.0f} s left" if seconds < 100 else f"{seconds / 60:.0f} min left"
