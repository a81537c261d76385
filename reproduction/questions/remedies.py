"""Which remedies bring a large batch closer to the small one: each alone and with ghost batches."""

from functools import partial

from reproduction.criteria.reader import Criteria
from reproduction.data import arrays
from reproduction.held_out import best
from reproduction.questions.answers import Answers
from reproduction.remedies.arms import Arm
from reproduction.runs import HERE

NAME = "remedies"
DATA = "mnist1d"
SOURCES = (
    "questions/remedies.py",
    "repeated_training.py",
    "training.py",
    "networks/small.py",
    *sorted(path.relative_to(HERE).as_posix() for path in (HERE / "remedies").glob("[a-z]*.py")),
)
SMALL_BATCH = "SB"  # whose rate the rules start from
QUICK_EPOCHS, QUICK_SAMPLES = 3, 1000


class Remedies(Criteria):
    """The criteria, with an arm an entry and kind of normalization."""

    def _arms_of(self, entry, data):  # noqa: ARG002
        for ghosts in entry["ghosts"]:
            settings = {**entry, "ghosts": ghosts}
            for tuned in ("rates", "strengths"):
                settings[tuned] = tuple(entry.get(tuned, ()))
            if ghosts:
                settings["name"] += ", ghosts"
            yield Arm(**settings)


def make(options):
    """The tries on held-out samples, then the trainings, each arm with its best one."""
    criteria = Remedies(NAME)
    answers = Answers(criteria, DATA, options, SOURCES)
    arms, epochs = criteria.arms(DATA), criteria.content["runs"]["epochs"]
    sweeps = {} if options.quick else _sweeps(answers, arms, epochs)
    chosen = {name: best(found) for name, found in sweeps.items()}
    for arm in arms:
        if arm.tries:
            # A quick run tries nothing.
            chosen.setdefault(arm.name, next(iter(arm.tries)))
    if options.quick:
        epochs, data = QUICK_EPOCHS, arrays.load(DATA, examples=QUICK_SAMPLES)
    else:
        data = arrays.load(DATA, draw=answers.draw)
    made = answers.make(_cases(arms, chosen, data, epochs), data)
    answers.write(made, data, ("batches",), sweeps=sweeps, chosen=chosen)


def cases_of(options, content):  # noqa: ARG001 - the other questions need them
    """The trainings of published results."""
    criteria = Remedies(NAME)
    data = arrays.load(DATA, draw=criteria.content["data"][DATA]["draw"])
    epochs = criteria.content["runs"]["epochs"]
    return _cases(criteria.arms(DATA), content["chosen"], data, epochs)


def _sweeps(answers, arms, epochs):
    data = arrays.load(DATA, hold_out=answers.criteria.content["tuning"]["hold_out"])
    tuned = [arm for arm in arms if arm.tries]
    makers = {arm.name: partial(_try, arm, data, epochs) for arm in tuned}
    return answers.sweeps(makers, data, {arm.name: list(arm.tries) for arm in tuned})


def _try(arm, data, epochs, name):
    return arm.case(data, arm.tries[name], epochs)


def _cases(arms, chosen, data, epochs):
    by_name = {arm.name: arm for arm in arms}
    small_rate, _ = by_name[SMALL_BATCH].tries[chosen[SMALL_BATCH]]
    return [
        arm.case(
            data, arm.tries[chosen[arm.name]] if arm.tries else arm.by_rule(small_rate), epochs
        )
        for arm in arms
    ]
