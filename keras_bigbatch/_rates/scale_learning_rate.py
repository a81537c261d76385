"""The factor by which a learning rate grows with the batch, for plain floats."""

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

from keras_bigbatch._arguments import one_of, positive_integer, positive_number

RuleName: TypeAlias = Literal["sqrt", "linear", "none"]
Rule: TypeAlias = RuleName | Callable[[float], float]

_RULES: dict[RuleName, Callable[[float], float]] = {
    "sqrt": math.sqrt,
    "linear": lambda ratio: ratio,
    "none": lambda _: 1.0,
}


def scale_learning_rate(
    learning_rate: float, small_batch: int, large_batch: int, rule: Rule = "sqrt"
) -> float:
    """Scales a learning rate tuned at a small batch to a large batch.

    Use it if callbacks must be able to set the optimizer's rate:
    `keras.callbacks.ReduceLROnPlateau` and `keras.callbacks.LearningRateScheduler` do not work with
    a schedule. For everything else, use `LearningRateScaler`, which takes schedules, warms up and
    is saved with the model. The result is `learning_rate * rule(large_batch / small_batch)`.

    `"sqrt"` keeps the covariance of the updates when the batch is small compared to the data set.
    Hoffer et al. use it with SGD. `"linear"` keeps the mean update per sample (Goyal et al., SGD
    with momentum on ImageNet) and needs a warm-up. Other optimizers have other rules, and not only
    their rate depends on the batch: for Adam and AdamW, use `optimizers.scale_optimizer`. Scale
    *every* rate of a recipe, not only the first. No base batch is assumed here. bigBatch, the code
    of Hoffer et al., divides by 256 in one script and by the ghost batch in another, while the
    paper divides by the small batch.

    Args:
        learning_rate: The rate tuned at `small_batch`, a positive number.
        small_batch: Samples in one optimizer update of the tuned recipe.
        large_batch: Samples in one optimizer update now, over all replicas and all accumulated
            micro-batches. If it is smaller than `small_batch`, the rate decreases.
        rule: `"sqrt"`, `"linear"`, `"none"` (factor 1), or a function of the ratio
            `large_batch / small_batch` that returns a positive number.

    Returns:
        The scaled rate, a Python float.

    Raises:
        ValueError: If an argument is out of range, or if the rule is neither known nor a function
            that returns a positive, finite number.

    Example:

    ```python
    from keras_bigbatch.schedules import scale_learning_rate

    print(scale_learning_rate(0.1, 128, 4096))                       # 0.5656854...
    print(scale_learning_rate(0.1, 128, 4096, rule="linear"))        # 3.2
    print(scale_learning_rate(0.1, 128, 4096, lambda r: r**0.75))    # between the two
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 4, equation 7
        - [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), section 2.1
    """
    rate = positive_number(
        "learning_rate",
        learning_rate,
        "It is the rate tuned at `small_batch`. For a schedule use `LearningRateScaler`.",
    )
    samples = "It counts the samples of one optimizer update."
    small = positive_integer("small_batch", small_batch, samples)
    large = positive_integer("large_batch", large_batch, samples)
    if callable(rule):
        factor = positive_number(
            "rule(large_batch / small_batch)",
            rule(large / small),
            "A rule takes the ratio of the batches and returns the factor of the learning rate.",
        )
    else:
        one_of("rule", rule, _RULES, "Or pass a function of large_batch / small_batch.")
        factor = _RULES[rule](large / small)
    return rate * factor
