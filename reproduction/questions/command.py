"""Answer one of the questions that the papers leave open, by its criteria."""

from reproduction.questions import ghost_size

QUESTIONS = {ghost_size.NAME: ghost_size}


def main(options):
    """Makes the trainings, then the file of results."""
    QUESTIONS[options.question].make(options)
