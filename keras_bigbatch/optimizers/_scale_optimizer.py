"""A new optimizer for a larger batch, with all that depends on the batch adjusted."""

from fractions import Fraction

import keras

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._rates.learning_rates import (
    LearningRate,
    LearningRateSchedule,
)
from keras_bigbatch._rates.rescaled_schedule import plain_fraction
from keras_bigbatch._rates.scale_learning_rate import Rule, scale_learning_rate
from keras_bigbatch.optimizers._batch_move import BatchMove, Decay, ScheduleWarmup
from keras_bigbatch.optimizers._batch_rules import Betas
from keras_bigbatch.optimizers._optimizer_recipe import (
    OptimizerRecipe,
    rate_in_updates,
    recipe_of,
)


def scale_optimizer(
    optimizer: keras.optimizers.Optimizer,
    small_batch: int,
    large_batch: int,
    rule: Rule | None = None,
    stretch: float | None = None,
    betas: Betas | None = None,
    decay: Decay = "samples",
    accumulation_steps: int = 1,
    schedule_warmup: ScheduleWarmup = "samples",
) -> keras.optimizers.Optimizer:
    """Returns a new optimizer of the same class for a large batch, from one tuned at a small batch.

    Use it if you manage batch sizes and epochs yourself. Otherwise use `Regime(optimizer=)`, which
    makes the same optimizer, counts updates exactly and prints what it changed. With
    `k = large_batch / small_batch` and a learning rate multiplied by `f`:

    | | becomes | for |
    |---|---|---|
    | rate | `* sqrt(k)` | Adam, AdamW, Adamax, Nadam, RMSprop, Lamb, SGD (or `"linear"`) |
    | | unchanged | Adagrad; LARS and the like |
    | | error without a `rule` | Lion, Adadelta, Ftrl, Muon, Adafactor, other classes |
    | betas, rho | unchanged | Adam's family |
    | | `** k` | RMSprop; all with `betas="samples"` |
    | epsilon | `/ sqrt(k)` | Adam's family and Lamb, which do not have it inside the root |
    | | `/ k`, `/ k**2` | RMSprop, Adagrad (its first accumulator too): inside the root |
    | weight decay | `* k / f`; `"training"`: also `/ stretch` | decoupled: all but LARS etc. |
    | EMA | momentum `** k` of micro-batches, overwritten `k` times as often | all |
    | momentum, clipping | unchanged | all |

    Wrappers such as `LossScaleOptimizer` are recreated around the new optimizer. State is not
    copied.

    Args:
        optimizer: A Keras optimizer, which is not changed. A schedule in it counts updates.
        small_batch: Samples in one optimizer update of the tuned recipe.
        large_batch: Samples in one optimizer update now, all micro-batches together.
        rule: As for `scale_learning_rate`, or None for the rule in the table.
        stretch: The factor on the epochs, for schedules. None keeps the number of updates.
        betas: `"samples"` or `"keep"` for all optimizers, or None for the rule in the table.
        decay: The time scale of weight decay is `1 / (rate * decay)` updates. `"samples"` keeps its
            length in samples, `"training"` its share of the run.
        accumulation_steps: The new optimizer's `gradient_accumulation_steps`, or 1.
        schedule_warmup: Whether the warm-up of a `CosineDecay` keeps its length in `"samples"`,
            like the rest of the schedule (so it never takes over the run), or in `"updates"`.

    Raises:
        ValueError: If an argument is out of range, or there is no rule for the optimizer.

    Warns if `rule` is not the one in the table, or a beta falls below 0.1.

    Example:

    ```python
    import keras, keras_bigbatch as kbb
    small = keras.optimizers.AdamW(3e-4, weight_decay=0.05)
    large = kbb.optimizers.scale_optimizer(small, small_batch=128, large_batch=1024)
    print(float(large.learning_rate), large.weight_decay)  # both times sqrt(8)
    ```

    References:
        - [Malladi et al., 2022](https://arxiv.org/abs/2205.10287), section 5
        - [Wang and Aitchison, 2024](https://arxiv.org/abs/2405.13698); [Busbridge et al.,
          2023](https://arxiv.org/abs/2307.13813)
    """
    samples = "It counts the samples of one optimizer update."
    small = positive_integer("small_batch", small_batch, samples)
    large = positive_integer("large_batch", large_batch, samples)
    hint = "It multiplies the epochs; None keeps the number of updates."
    pace = Fraction(1)
    if stretch is not None:
        pace = plain_fraction(positive_number("stretch", stretch, hint)) * small / large
    steps = positive_integer(
        "accumulation_steps", accumulation_steps, "It counts micro-batches in one update."
    )
    recipe = recipe_of(optimizer)
    move = BatchMove(small, large, pace, rule, betas, decay, steps, schedule_warmup)
    move.check(recipe)

    def moved_rate(each: OptimizerRecipe) -> LearningRate:
        rate, own_rule = move.paced(rate_in_updates(each)), move.rule_of(each)
        if isinstance(rate, LearningRateSchedule):
            return move.scaled(rate, own_rule)
        return scale_learning_rate(rate, small, large, own_rule)  # a number stays settable

    return recipe.make(lambda each: {**move.changed(each), "learning_rate": moved_rate(each)})
