"""Answer one of the questions that the papers leave open, by its criteria."""

from reproduction.questions import distance, fashion, ghost_size, mismatch, onset, remedies

QUESTIONS = {
    module.NAME: module for module in (ghost_size, onset, distance, fashion, remedies, mismatch)
}


def main(options):
    """Makes the trainings, then the file of results."""
    QUESTIONS[options.question].make(options)


def cases_of(options, content):
    """The trainings of a question that is answered."""
    return QUESTIONS[options.question].cases_of(options, content)
