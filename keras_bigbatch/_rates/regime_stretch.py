"""Schedules written for a small batch, read at the pace of a large one."""

from fractions import Fraction
from typing import Any, Self

from keras import ops

from keras_bigbatch._arguments import positive_number
from keras_bigbatch._rates.learning_rates import LearningRate, rate_at, rate_dtype
from keras_bigbatch._rates.rescaled_schedule import RescaledSchedule, plain_fraction
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor


@serializable
class RegimeStretch(RescaledSchedule):
    """Runs a schedule written in small-batch updates at the pace of a large-batch run.

    Use it when a schedule was tuned at `small_batch` and the run at `large_batch` lasts `stretch`
    times as many *epochs* (which you set in `fit`). With `ratio = large_batch / small_batch`, the
    rate after `t` optimizer updates is `rate(t) = learning_rate(t * ratio / stretch)`:

    | `stretch` | `epochs` in `fit` | updates, relative to the small batch | `rate(t)` |
    |---|---|---|---|
    | `1` | unchanged | `1 / ratio` times as many | `ratio` times as fast |
    | `s` between | times `s` | `s / ratio` times as many | `ratio / s` times as fast |
    | `ratio` | times `ratio` | the same: the paper's regime adaptation | unchanged |

    As the last row shows, a schedule in updates needs no change if the number of updates stays the
    same. The rates are not scaled. For that, nest it with a `LearningRateScaler`. This class does
    not know the size of the data set. If the batch does not divide it, the counts are off by one
    update per epoch. `Regime` is exact.

    If `ratio / stretch` is a whole number, `learning_rate` is called with an integer. Otherwise it
    is called with a float32, so a custom schedule must accept fractions of an update. If
    `ratio / stretch` is a fraction `p / q` of whole numbers, the rate drops at the right update as
    long as `q` times the drop's small-batch update is below 2^24 (16 million), and it never drops
    earlier.

    Args:
        learning_rate: A positive float, or a `LearningRateSchedule` in small-batch updates.
        small_batch: Samples in one optimizer update of the tuned recipe.
        large_batch: Samples in one optimizer update now, over all replicas and all accumulated
            micro-batches.
        stretch: The factor on the epochs of the large-batch run, any positive number. Use 1 if you
            leave the epochs unchanged. Above the ratio, there are more updates than before.
        accumulation_steps: The optimizer's `gradient_accumulation_steps`, or 1. Set it only on the
            outermost of nested schedules, which Keras calls once per micro-step.
        name: The name of the schedule.

    Raises:
        ValueError: If an argument is out of range, if an inner schedule has `accumulation_steps`
            above 1, or if an inner `RegimeStretch` has the same two batches.

    Warns if `large_batch` is below `small_batch`.

    Example:

    ```python
    import keras, keras_bigbatch as kbb
    base = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=32_000)
    rate = kbb.RegimeStretch(base, small_batch=128, large_batch=4096, stretch=4)
    print(float(base(8_000)), float(rate(1_000)))    # the same: eight times as fast
    rate = kbb.LearningRateScaler(rate, small_batch=128, large_batch=4096)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), sections 5 and 6
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        small_batch: int,
        large_batch: int,
        stretch: float,
        accumulation_steps: int = 1,
        name: str = "RegimeStretch",
    ) -> None:
        super().__init__(learning_rate, small_batch, large_batch, accumulation_steps, name)
        self.stretch = positive_number(
            "stretch",
            stretch,
            "It multiplies the epochs: 1 keeps them, large_batch / small_batch keeps the number of "
            "updates.",
        )
        ratio = Fraction(self.large_batch, self.small_batch)
        self._speed = plain_fraction(ratio / plain_fraction(self.stretch))
        self._change_once("stretched", self._speed)

    def _rate(self, update: Tensor) -> Tensor:
        return rate_at(self.learning_rate, self._small_update(update))

    def _small_update(self, update: Tensor) -> Tensor:
        """The small-batch update that a large-batch update corresponds to."""
        numerator, denominator = self._speed.numerator, self._speed.denominator
        if denominator == 1:
            return update * numerator
        dtype = rate_dtype()
        if numerator * denominator >= 2**31:
            # Not a fraction of small numbers: the products below would overflow.
            return ops.cast(update, dtype) * float(self._speed)
        # The integer part is computed in integers: a product of floats may land just past a drop.
        rest = ops.mod(update, denominator) * numerator
        integer = ops.floor_divide(update, denominator) * numerator
        integer = integer + ops.floor_divide(rest, denominator)
        return ops.cast(integer, dtype) + ops.cast(ops.mod(rest, denominator), dtype) / denominator

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stretch": self.stretch}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        if config["stretch"] is None:  # from an older file: None meant the ratio
            config = {**config, "stretch": config["large_batch"] / config["small_batch"]}
        return super().from_config(config)
