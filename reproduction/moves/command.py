"""Move whole recipes from a small to a large batch, and see what it costs to leave a number behind.

AdamW and SGD, tuned at the small batch; arms, seeds, margins and hypotheses are those of
`criteria/recipes.toml`, which is older than the results. JAX, one core: hours, so it goes on where
it was stopped.
"""

from pathlib import Path

from reproduction import held_out, report
from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.moves import adascale, noise
from reproduction.moves.arms import Arms
from reproduction.runs import Runs

FOLDER = Path("results") / "recipes"
GROUPS = ("AdamW", "SGD", "AdaScale", "batches", "noise", "rates")
# Looked at after the results, for no hypothesis: what betas^k does at other rates.
AFTERWARDS = ("AdamW whole x4", "AdamW whole, betas^k x4")
COLUMNS = tuple(name for name in report.COLUMNS if name not in ("batch", "epochs"))
# What decides the outcome; of the package only the layer, as the recipes keep an optimizer's
# numbers, however it came by them.
SOURCES = (
    "moves/arms.py",
    "repeated_training.py",
    "training.py",
    "networks/small.py",
    "data/arrays.py",
)
PACKAGE = ("layers/*.py", "_backend/**/ghost_*.py", "_backend/**/ghost_*/*.py")
QUICK = {"draw": None, "epochs": 1, "examples": 1200}


class Experiment:
    """The runs on one data set.

    Args:
        options: Of the command line.
    """

    def __init__(self, options):
        self.criteria = Criteria("recipes")
        self.name, self.quick = options.dataset, options.quick
        self.sizes = self.criteria.content["data"][self.name] | (QUICK if self.quick else {})
        self.optimizers = self.criteria.content["optimizers"]
        self.folder = (options.output or FOLDER) / self.name
        self.seeds = options.seeds or self.criteria.seeds[: 1 if self.quick else None]

    def runs(self, hold_out, *more):
        """The folder of the trainings that are scored on the test data or on a hold-out.

        Args:
            hold_out: Samples, 0 for the test data.
            more: Files that decide the outcome, beside those of all trainings.
        """
        settings = {"data": self.name, "draw": self.sizes["draw"], "hold_out": hold_out}
        settings["quick"] = self.quick
        return Runs(self.folder / "runs", settings, (*SOURCES, *more), PACKAGE)

    def load(self, hold_out=0):
        """The data; with a hold-out the test data are not even returned."""
        given = {"hold_out": hold_out, "examples": self.sizes.get("examples")}
        return arrays.load(self.name, draw=self.sizes["draw"], **given)

    def arms(self, data, rates):
        """What makes trainings."""
        arguments = {name: entry["arguments"] for name, entry in self.optimizers.items()}
        return Arms(data, self.sizes, arguments, rates)

    def choose(self):
        """By optimizer, the held-out accuracy in percent of each rate; `{}` in a quick run."""
        arms = self.criteria.arms(self.name)
        small = [arm for arm in arms if arm.rule is None and not arm.virtual_batch]
        return self._held_out({arm.optimizer: arm for arm in small})

    def _by_rate(self):
        """The same for the large batch, at each rate of the small one, by arm."""
        arms = {arm.name: arm for arm in self.criteria.arms(self.name)}
        return self._held_out({name: arms[name] for name in AFTERWARDS})

    def _held_out(self, arms):
        """By the arms' labels, the held-out accuracy in percent of each rate."""
        if self.quick:
            return {}
        hold_out = self.sizes["hold_out"]
        data, runs = self.load(hold_out), self.runs(hold_out)
        seeds = self.criteria.content["tuning"]["seeds"]
        print(f"The small batch's rates, and the accuracy in % on {data.scored_on}")
        found = {}
        for label, arm in arms.items():
            rates = self.optimizers[arm.optimizer]["rates"]

            def maker(rate, arm=arm):
                return self.arms(data, {arm.optimizer: rate}).case(arm)

            found[label] = held_out.by_rate(runs, maker, rates, seeds, _quiet)
            print(label, {rate: round(score, 2) for rate, score in found[label].items()})
        return found

    def rates(self, sweeps):
        """The best rates; of equally good ones the smallest."""
        if not sweeps:
            return {
                name: entry["rates"][len(entry["rates"]) // 2]
                for name, entry in self.optimizers.items()
            }
        return {name: held_out.best(found) for name, found in sweeps.items()}

    def make(self, groups):
        """Make the groups' trainings; returns what `results.json` says.

        Args:
            groups: Of the criteria's arms, and "noise".
        """
        sweeps = self.choose()
        rates = self.rates(sweeps)
        data, runs = self.load(), self.runs(0)
        arms, results, scales, by_rate = self.arms(data, rates), [], [], {}

        def made(cases, kept=runs):
            stamped = [self.criteria.stamped(case) for case in cases]
            return kept.make(
                stamped, self.seeds, lambda each: report.line(each, data.split), time_left=True
            )

        for group in groups:
            mine = [arm for arm in self.criteria.arms(self.name) if arm.group == group]
            if group == "noise":
                scales = self._noise(arms)
            elif group == "rates":
                by_rate = self._by_rate()
            elif group == "AdaScale" and mine:
                first, *others = mine
                own = made([adascale.case(arms, first)], self.runs(0, "moves/adascale.py"))
                updates = {result["seed"]: result["updates"] for result in own}
                results += own
                results += made([adascale.as_many_updates(arms, arm, updates) for arm in others])
            elif mine:
                results += made([arms.case(arm) for arm in mine])
        self.criteria.check(results, self.name)
        return {
            "criteria": self.criteria.digest,
            "data": self.name,
            "scored_on": data.scored_on,
            "sizes": self.sizes,
            "sweeps": sweeps,
            "rates": rates,
            "seeds": self.seeds,
            **runs.context(),
            "noise": scales,
            "by_rate": by_rate,
            "trainings": report.lean(results, "mean_gain", "gains", *COLUMNS),
        }

    def _noise(self, arms):
        """The noise scales along the small batch's training."""
        if not self.sizes["batches"]:
            return []
        asked = self.criteria.content["noise"]
        small = next(a for a in self.criteria.arms(self.name) if a.name == "AdamW small")
        case = noise.case(arms, small, asked["shares"])
        seeds = asked["seeds"][: 1 if self.quick else None]
        runs = self.runs(0, "moves/noise.py")
        return runs.make([case], seeds, lambda result: str(result["points"]))


def _quiet(result):
    return f"{100 * result['test_accuracy']:.2f} %"


def main(options):
    """Make the trainings, then the report."""
    experiment = Experiment(options)
    content = experiment.make(options.groups or GROUPS)
    content["command"] = options.as_typed
    report.write(experiment.folder, content.pop("trainings"), content, COLUMNS)
    print(f"\nCSV and JSON are in {experiment.folder}.")
