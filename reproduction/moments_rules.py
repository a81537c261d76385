"""The optimizers whose moments are compared, and the rules that move them to a larger batch.

Beside `keras_bigbatch.optimizers.scale_optimizer`, and not by it: this has the rules that the
package refuses too, and the two check each other.
"""

import itertools
from dataclasses import dataclass

from keras import optimizers

# By such a rate the mean comes a good part of the way to the minimum at a noise of 30 a sample, and
# the deviation goes from a random walk to what it settles at. AdamW's decay is felt as much as the
# gradient is.
OPTIMIZERS = {
    "SGD": lambda: optimizers.SGD(3e-5),
    "SGD, momentum": lambda: optimizers.SGD(3e-6, momentum=0.9),
    "Adam": lambda: optimizers.Adam(5e-4),
    "AdamW": lambda: optimizers.AdamW(5e-4, weight_decay=0.05),
    "Nadam": lambda: optimizers.Nadam(5e-4),
    "RMSprop": lambda: optimizers.RMSprop(5e-4, rho=0.99),
    "Adagrad": lambda: optimizers.Adagrad(0.03),
    "Adamax": lambda: optimizers.Adamax(1e-3),
    "Lion": lambda: optimizers.Lion(1e-4),
    "Adadelta": lambda: optimizers.Adadelta(0.05),
    "Ftrl": lambda: optimizers.Ftrl(0.03),
}
# The power of the ratio of the batches that multiplies the rate.
RATES = {"none": 0.0, "square root": 0.5, "linear": 1.0}
BETAS = ("momentum", "beta_1", "beta_2", "rho")
# Epsilon stands beside a gradient's size, but here beside a square, or a sum of squares.
SQUARES, SUMS = (optimizers.RMSprop, optimizers.Adadelta), (optimizers.Adagrad,)


@dataclass(frozen=True)
class Rule:
    """What changes when the batch grows `ratio` times.

    Args:
        rate: A name in `RATES`.
        betas: `"left"`, or `"power"`: beta^ratio, of momentum and rho too; or `"over"`: the power,
            and the rate over 1 - momentum is what follows the rate's rule.
        decay: `"moved"`, so that it stays the same in samples, or `"left"`.
    """

    rate: str
    betas: str | None = None
    decay: str | None = None

    def __str__(self):
        betas = {"left": "betas left", "power": "betas^k", "over": "betas^k, rate/(1 - beta)"}
        decay = "decay left" if self.decay == "left" else None
        return ", ".join(filter(None, (self.rate, betas.get(self.betas), decay)))


def rules(optimizer):
    """The rules that an optimizer can be moved by."""
    config = optimizer.get_config()
    betas = ("left", "power") if any(config.get(name) for name in BETAS) else (None,)
    decay = "moved" if config.get("weight_decay") else None
    found = [Rule(rate, kind, decay) for rate, kind in itertools.product(RATES, betas)]
    if config.get("momentum"):
        found.append(Rule("linear", "over", decay))
    if decay:  # under the linear rule it stays where it is anyway
        found += [Rule(rate, betas[0], "left") for rate in ("none", "square root")]
    return found


def moved(optimizer, ratio, rule):
    """A new optimizer, for a batch `ratio` times as large."""
    config = optimizer.get_config()
    factor = ratio ** RATES[rule.rate]
    config["learning_rate"] *= factor
    if rule.betas in ("power", "over"):
        for name in filter(config.get, BETAS):
            before, config[name] = config[name], config[name] ** ratio
            if rule.betas == "over":
                config["learning_rate"] *= (1 - config[name]) / (1 - before)
    if rule.decay == "moved":
        config["weight_decay"] *= ratio / factor  # Keras takes rate * decay * weight an update
    # The square of the noise is smaller by the ratio, and a sum of squares has fewer terms too.
    if config.get("epsilon"):
        power = 2 if isinstance(optimizer, SUMS) else 1 if isinstance(optimizer, SQUARES) else 0.5
        config["epsilon"] /= ratio**power
    if config.get("initial_accumulator_value"):
        config["initial_accumulator_value"] /= ratio**2
    return type(optimizer).from_config(config)
