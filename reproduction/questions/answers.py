"""What the questions share: criteria, trainings that are kept, tuning, and the file of results."""

from pathlib import Path

from reproduction import held_out, report
from reproduction.runs import Runs


class Answers:
    """The trainings of a question.

    Args:
        criteria: The question's.
        name: The data set's.
        options: Of the command line.
        sources: The files whose text decides the outcome.
    """

    def __init__(self, criteria, name, options, sources):
        self.criteria, self.name, self.quick = criteria, name, options.quick
        # A quick run leaves the fresh test samples alone, where they can be drawn.
        self.draw = None if options.quick else criteria.content["data"][name].get("draw")
        self.seeds = options.seeds or criteria.seeds[: 1 if options.quick else None]
        self.folder = options.output or Path("results") / "questions" / options.question
        self.sources = (*sources, "data/arrays.py", "recipes/demo.py", "questions/answers.py")
        self.typed = options.as_typed

    def runs(self, **more):
        """The folder of the trainings; `more` is what sets them apart from others."""
        settings = {"data": self.name, "draw": self.draw, "quick": self.quick, **more}
        return Runs(self.folder / "runs", settings, self.sources)

    def make(self, cases, data, runs=None):
        """The trainings of all seeds, each stamped with the criteria."""
        stamped = [self.criteria.stamped(case) for case in cases]
        runs = runs or self.runs()
        return runs.make(
            stamped, self.seeds, lambda each: report.line(each, data.split), time_left=True
        )

    def write(self, results, data, columns=(), **more):
        """The file of results.

        Args:
            results: Trainings.
            data: What they were scored on.
            columns: What is kept of a training, beside `report.COLUMNS`.
            more: What else the page needs.
        """
        context = {"criteria": self.criteria.digest, "data": self.name, "seeds": self.seeds}
        context |= {"scored_on": data.scored_on, "command": self.typed, **more}
        kept = report.lean(results, *report.COLUMNS, *columns)
        report.write(self.folder, kept, context | self.runs().context())
        print(f"\nCSV and JSON are in {self.folder}.")

    def sweeps(self, makers, data, tried=None):
        """By arm, the mean accuracy in percent of each rate, on held-out training samples.

        Args:
            makers: By arm, what makes a case of a rate, or of what else is tried.
            data: With the hold-out of the criteria.
            tried: By arm, what is tried; by default the rates of the criteria.
        """
        tuning = self.criteria.content["tuning"]
        runs = self.runs(hold_out=tuning["hold_out"])

        def line(result):
            return report.line(result, data.split)

        tried = tried or dict.fromkeys(makers, tuning.get("rates"))
        return {
            name: held_out.by_rate(runs, maker, tried[name], tuning["seeds"], line)
            for name, maker in makers.items()
        }
