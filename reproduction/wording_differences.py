"""The criteria's differences of test accuracy, and what they decide, as the pages show them.

As in `wording.py`, the criteria keep their text, and nothing is decided by this one.
"""

import re

NAMES = {
    # controls.toml
    "ghosts of 8 after the rate: +GBN over +LR": "ghosts of 8 on top of the rate: +GBN vs. +LR",
    "three times as long after ghosts of 8: +RA over +GBN": (
        "three times the epochs, with ghosts of 8: +RA vs. +GBN"
    ),
    "all of it: +RA over SB": "everything: +RA vs. SB",
    "ghosts of 8 without the rate: over LB": "ghosts of 8 at the unscaled rate, vs. LB",
    "three times as long without ghosts: over +LR": "three times the epochs, no ghosts, vs. +LR",
    "ghosts of 8 for the small batch: over SB": "ghosts of 8 at the small batch, vs. SB",
    "all of it, if the small batch has ghosts of 8 too: +RA over that": (
        "everything: +RA vs. SB with ghosts of 8"
    ),
    "the paper's ghosts of 40 after the rate: over +LR": (
        "the paper's ghosts of 40 on top of the rate, vs. +LR"
    ),
    "all of it with the paper's ghosts of 40: over SB": (
        "everything, with the paper's ghosts of 40, vs. SB"
    ),
    "ghosts of 8 or of 40: +RA over +RA, ghosts of 40": (
        "ghosts of 8 or 40: +RA vs. +RA with ghosts of 40"
    ),
    # fashion.toml
    "all of it with tuned rates: +RA over SB": "everything, with tuned rates: +RA vs. SB",
    # recipes.toml
    "AdamW: square root rule against the rate as it was": (
        "AdamW: square-root rule vs. unchanged rate"
    ),
    "AdamW: square root against linear rule": "AdamW: square-root rule vs. linear rule",
    "AdamW: betas^k against betas kept, only the rate moved": (
        "AdamW: betas^k vs. unchanged betas, only the rate moved"
    ),
    "AdamW: betas^k against betas kept, everything else moved": (
        "AdamW: betas^k vs. unchanged betas, everything else moved"
    ),
    "AdamW: decay and epsilon moved too against only the rate": (
        "AdamW: rate, decay and epsilon moved vs. only the rate"
    ),
    "AdamW: decay by training against by samples, at stretch 4": (
        'AdamW: decay "training" vs. "samples", at stretch 4'
    ),
    "AdamW: ghost against plain batch normalization": "AdamW: ghost vs. plain batch norm",
    "SGD: square root rule against the rate as it was": "SGD: square-root rule vs. unchanged rate",
    "SGD: square root against linear rule": "SGD: square-root rule vs. linear rule",
    "SGD: ghost against plain batch normalization": "SGD: ghost vs. plain batch norm",
    "AdaScale against the square root rule, at as many updates": (
        "AdaScale vs. the square-root rule, at equal updates"
    ),
    "AdaScale against the linear rule, at as many updates": (
        "AdaScale vs. the linear rule, at equal updates"
    ),
    # remedies.toml
    "what is left with ghosts: SB over LB": "the gap that is left with ghosts: SB vs. LB",
    "ghosts for the small batch": "ghosts at the small batch",
    "the rule or a tuned rate": "a tuned rate vs. the rule",
    "ghost noise or ghosts": "ghost noise vs. ghosts",
    "four views or one, alone": "four views vs. one, alone",
    "four views or one, with ghosts": "four views vs. one, with ghosts",
}
DECISIONS = {
    # controls.toml
    "Whether the demo may say that the gap is closed: equivalent or better.": (
        'The demo may say that the gap is closed if "equivalent" or "better".'
    ),
    "Whether ghost batches of 8 are a regularizer of their own here: better.": (
        'Ghost batches of 8 are a regularizer of their own here if "better".'
    ),
    "Whether the gap is closed between batches that both have ghosts of 8: equivalent or better.": (
        'The gap between batches that both have ghosts of 8 is closed if "equivalent" or "better".'
    ),
    "Whether the paper's own method closes the gap here: equivalent or better.": (
        'The paper\'s own method closes the gap here if "equivalent" or "better".'
    ),
    # distance.toml
    "Whether distance gives the large batch any accuracy: better.": (
        'Distance gives the large batch some accuracy if "better".'
    ),
    "Whether a large distance is enough: equivalent or better.": (
        'A large distance is enough if "equivalent" or "better".'
    ),
    "Whether a large distance is needed: worse.": 'A large distance is needed if "worse".',
    "Whether equal distances make equal accuracies: equivalent.": (
        'Equal distances give equal accuracies if "equivalent".'
    ),
    "Whether ghosts do something that is not the distance: better.": (
        'Ghosts do something other than change the distance if "better".'
    ),
    # fashion.toml
    "Whether there is a gap that a rate does not close: better.": (
        'There is a gap that the rate does not close if "better".'
    ),
    "Whether ghost batches gain on this network: better.": (
        'Ghost batches help on this network if "better".'
    ),
    "Whether the gap is closed: equivalent or better.": (
        'The gap is closed if "equivalent" or "better".'
    ),
    # mismatch.toml
    "Whether `renew_statistics` belongs at the end of such a training: better.": (
        '`renew_statistics` belongs at the end of such a run if "better".'
    ),
    "Whether weighing is worth a place in the package: better, by the margin at least.": (
        'Weighing is worth a place in the package if "better" by at least the margin.'
    ),
    # recipes.toml
    "The package's default for Adam's family. It is betas^k if this is \"better\" on one data set "
    'and "worse" on none; otherwise betas are kept, which changes less.': (
        'The default for Adam\'s family is betas^k if "better" on one data set and "worse" on '
        "none. Otherwise betas stay unchanged, which changes less."
    ),
    'Whether the docs recommend the decay rule for accuracy: if "better" on one data set and '
    '"worse" on none. The rule stays in the package either way, as it is what the small batch\'s '
    "recipe says.": (
        'The docs recommend the decay rule for accuracy if "better" on one data set and "worse" on '
        "none. The rule stays in the package either way: it follows from the small batch's recipe."
    ),
    'The default of `decay`: "training" only if "better" on one data set and "worse" on none.': (
        'The default of `decay` is "training" only if "better" on one data set and "worse" on none.'
    ),
    'AdaScale comes into the package only if this is "better".': (
        'AdaScale enters the package only if "better".'
    ),
    # remedies.toml
    "Whether it enters: better.": 'It enters the package if "better".',
    # statistics.toml
    "Whether equal weights are worse, as the paper says: better.": (
        'Equal weights are worse, as the paper says, if "better".'
    ),
    'Whether "sequential" may stay the layer\'s default: equivalent or better.': (
        '"sequential" may stay the layer\'s default if "equivalent" or "better".'
    ),
}


def difference(name):
    """A difference as the pages show it: "LB over SB" is "LB vs. SB".

    Args:
        name: As the criteria have it.
    """
    return NAMES.get(name) or re.sub(r",? (over|against) ", " vs. ", name)


def decision(text):
    """What depends on a difference, as the pages show it.

    Args:
        text: As the criteria have it, on one line or several.
    """
    text = " ".join(text.split())
    return DECISIONS.get(text, text)
