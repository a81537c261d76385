"""What the questions share: criteria, trainings that are kept, tuning, and the file of results."""

from dataclasses import replace
from pathlib import Path
from statistics import fmean

from reproduction import report
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


def held_out(answers, makers, tuning, data):
    """By arm, the mean accuracy in percent of each rate, on held-out training samples.

    Args:
        answers: Whose trainings are kept.
        makers: By arm, what makes a case of a rate.
        tuning: The criteria's rates and seeds, the same for all arms.
        data: With a hold-out.
    """
    runs = answers.runs(hold_out=tuning["hold_out"])
    found = {}
    for name, maker in makers.items():
        found[name] = {}
        for rate in tuning["rates"]:
            case = replace(maker(rate), arm=f"{name}, rate {rate:g}")
            made = runs.make([case], tuning["seeds"], lambda each: report.line(each, data.split))
            found[name][rate] = 100 * fmean(each["test_accuracy"] for each in made)
    return found
