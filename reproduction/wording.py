"""The criteria's sentences as the pages show them.

The files of `reproduction/criteria` were committed before the trainings, and each result carries
their digest, so their text stays as it is. This is how the pages word it: more plainly, with the
same meaning. Nothing is decided by it.
"""

PLAIN = {
    # hoffer.toml
    "The large batch is less accurate: SB over LB": "The large batch is less accurate: SB minus LB",
    "The square-root rate brings some of it back: +LR over LB": (
        "The square-root rate recovers some of that: +LR minus LB"
    ),
    "Ghost batch normalization brings more: +GBN over +LR": (
        "Ghost batch norm recovers more: +GBN minus +LR"
    ),
    "The adapted regime brings more: +RA over +GBN": (
        "The adapted regime recovers more: +RA minus +GBN"
    ),
    "In the end the large batch is not worse than the small one by the margin: +RA over SB": (
        "In the end, the large batch is behind by less than the margin: +RA minus SB"
    ),
    "From the recipe's batch on none is better than the next smaller one: the most that one is": (
        "From the recipe's batch up, no batch beats the next smaller one: the largest gain"
    ),
    "The distance's slope on ln t depends on the batch: the recipe's over the largest's": (
        "The slope of the distance over ln t depends on the batch: the recipe's / the largest's"
    ),
    "With the square-root rate and ghosts the slopes are matched: the same ratio": (
        "With the square-root rate and ghosts, the slopes match: the same ratio"
    ),
    "The distance grows as ln t: R2 above the better one of square root and power, at the worst "
    "batch": (
        "The distance grows as ln t: R2 minus the better of the square-root and power laws', at "
        "the worst batch"
    ),
    "With the adapted regime it is better than without any adaptation: +RA over LB": (
        "With the adapted regime it is better than with the recipe unchanged: +RA minus LB"
    ),
    "With the adapted regime it is not worse than the small batch by the margin: +RA over SB": (
        "With the adapted regime it is behind the small batch by less than the margin: +RA minus SB"
    ),
    "It is the updates that do it: +RA over +GBN": (
        "The extra updates make the difference: +RA minus +GBN"
    ),
    "The deviation of the loss has alpha = 2, with the statistics of the batch": (
        "The deviation of the loss has alpha = 2, with batch statistics"
    ),
    "The noise makes the large batch better: LB + noise over LB": (
        "The noise makes the large batch better: (LB + noise) minus LB"
    ),
    "The noise is not worse than the rate by the margin: LB + noise over LB + LR": (
        "The noise is behind the rate by less than the margin: (LB + noise) minus (LB + LR)"
    ),
    "Our control: the noise makes of the large batch the small one, stopped at as many updates": (
        "Our control: with noise, the large batch is as accurate as the small one after as many "
        "updates"
    ),
    "Our control: it ends as far from the initial weights as that": (
        "Our control: it also ends equally far from the initial weights"
    ),
    "With the square-root rate that ratio is nearer to 1: the absolute logarithm is less by": (
        "With the square-root rate, that ratio is closer to 1: decrease of its absolute logarithm"
    ),
    "It is not worse than the small batch at stretch 1 by the margin": (
        "It is behind the small batch at stretch 1 by less than the margin"
    ),
    "Nor than the small batch with the same ghosts, the control": (
        "The same against the control, the small batch with the same ghosts"
    ),
    "A stretch of 4 does as much as the ratio": "A stretch of 4 is as good as the full ratio",
    # keskar.toml
    "The loss rises by more around the large batch's end, with interpolated statistics": (
        "The loss rises more around the large batch's minimum, with interpolated statistics"
    ),
    "The same with statistics that are estimated anew": "The same, with re-estimated statistics",
    "The largest batch ends sharper than the smallest, in the full space and the box 1e-3": (
        "The largest batch ends sharper than the smallest: full space, box 1e-3"
    ),
    "In the full space and the box 5e-4": "The same: full space, box 5e-4",
    "In the subspace and the box 1e-3": "The same: subspace, box 1e-3",
    "In the subspace and the box 5e-4": "The same: subspace, box 5e-4",
    "A few small epochs first bring no accuracy": (
        "A few epochs at the small batch first do not raise the accuracy"
    ),
    "After a few the sharpness stays high": "After a few of them, the sharpness stays high",
    "After enough the large batch is more accurate than without": (
        "After enough of them, the large batch is more accurate than without"
    ),
    "After enough it ends flatter than without": (
        "After enough of them, it ends flatter than without"
    ),
    "After enough it is as accurate as the small batch alone": (
        "After enough of them, it is as accurate as the small batch alone"
    ),
    # gao-zhong.toml
    "The largest batch is less accurate than the regime's, at an unchanged rate": (
        "The largest batch is less accurate than the regime's batch, at an unchanged rate"
    ),
    "At the large batch": "The same at the large batch",
    "The gradient of the first fully connected layer falls with the square root of the batch": (
        "The gradient of the first fully connected layer falls as 1 / sqrt(batch)"
    ),
    "So does that of the layers with kernels, on the mean": (
        "The same for the mean over the layers with kernels"
    ),
    "So does the first fully connected layer's, less the gradient of all data": (
        "The same for the first fully connected layer, after removing the full-data gradient"
    ),
    "So does that of the layers with kernels, less the gradient of all data": (
        "The same for the layers with kernels, after removing the full-data gradient"
    ),
    "An update's stride over the rate falls with the batch": (
        "An update's stride, divided by the rate, falls with the batch size"
    ),
    "It falls with the square root of the batch": "It falls as 1 / sqrt(batch)",
    "An update's stride falls with the batch": "An update's stride falls with the batch size",
    "At each larger batch it is smaller": "It is smaller at each larger batch",
    "The sum falls: it is the stride times the updates, of which a large batch makes fewer": (
        "The sum over all updates falls (a large batch makes fewer updates)"
    ),
    "At each larger batch the sum is smaller": "The sum is smaller at each larger batch",
    "What an update takes off the loss of its own batch falls with the batch": (
        "The fall of the loss in an update, on its own batch, decreases with the batch size"
    ),
    "It falls inversely to the batch": "It decreases as 1 / batch",
    "So does what it takes off the loss of the whole training set": (
        "The fall of the loss on the whole training set decreases as 1 / batch"
    ),
    "The training loss at the end rises with the batch": (
        "The final training loss rises with the batch size"
    ),
    "At the smallest batch the log loss fluctuates by more than between": (
        "The log loss fluctuates more at the smallest batch than at those in between"
    ),
    "At the largest batch it does too": "It also fluctuates more at the largest batch",
    "Without the 30 % smallest losses the gradient over the kept is larger than chance makes it": (
        "Without the 30 % smallest losses, the gradient over the kept samples is larger than "
        "chance explains"
    ),
    "Divided by the whole batch it is larger too": (
        "It is also larger when divided by the whole batch"
    ),
    "The large batch trains to a higher training accuracy, at an unchanged rate": (
        "The large batch reaches a higher training accuracy, at an unchanged rate"
    ),
    "A small first epoch makes the large batch more accurate, at as many epochs": (
        "A first epoch at a small batch makes the large batch more accurate, at equal epochs"
    ),
    "The same at as many updates": "The same at equal updates",
    "The seeds are less far from their mean, at as many epochs": (
        "The seeds scatter less around their mean, at equal epochs"
    ),
    "MCLR's and LARS's training accuracies differ negligibly": (
        "The training accuracies of MCLR and LARS differ negligibly"
    ),
    "as power": "(exponent)",
}


def plain(text):
    """A claim, or its unit, as the pages show it.

    Args:
        text: As the criteria have it.
    """
    return PLAIN.get(text, text)
