"""Learning rates and schedules, scaled to a larger batch and warmed up."""

import inspect
from typing import Any, Literal, Self, TypeAlias, get_args

import keras
from keras import ops

from keras_bigbatch._arguments import one_of, positive_integer
from keras_bigbatch._rates.learning_rates import LearningRate, rate_at, rate_dtype
from keras_bigbatch._rates.rescaled_schedule import RescaledSchedule
from keras_bigbatch._rates.scale_learning_rate import Rule, scale_learning_rate
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor

Warmup: TypeAlias = Literal["gradual", "legw"]


@serializable
class LearningRateScaler(RescaledSchedule):
    """Scales a learning rate or schedule from a small batch to a large one, in optimizer updates.

    Use it when a recipe was tuned at `small_batch` and now runs at `large_batch`. Wrap the
    optimizer's rate or schedule, and every rate in it is scaled. After `t` optimizer updates, the
    rate is `learning_rate(t) * factor(t)`. With `rule="sqrt"`, the full factor is
    `sqrt(large_batch / small_batch)`. `scale_learning_rate` explains the rules. To adapt to fewer
    updates, nest a `RegimeStretch` inside or outside. During the first `W = warmup_updates`:

    | `warmup` | `factor(t)`, up to `t = W` | at `t = 0` | at `t >= W` |
    |---|---|---|---|
    | `"gradual"` | `1 + (factor - 1) * t / W` | the unscaled rate | the scaled rate |
    | `"legw"` | `factor * (t + 1) / (W + 1)` | nearly zero | the scaled rate |

    `"gradual"` is from Goyal et al. `"legw"` lasts as many *updates* as the small batch's warm-up
    and counts from `t + 1`; as published, it starts at zero. Rates are float32 or wider.

    Args:
        learning_rate: A positive float, or a `LearningRateSchedule` in updates.
        small_batch: Samples in one optimizer update of the tuned recipe.
        large_batch: Samples in one optimizer update now, over all replicas and all accumulated
            micro-batches.
        rule: `"sqrt"`, `"linear"`, `"none"` (factor 1), or a function of the ratio
            `large_batch / small_batch` that returns a positive number. To save a model with one,
            register it with `keras.saving.register_keras_serializable()`.
        warmup_updates: Optimizer updates until the full factor is reached, or 0 for no warm-up.
        accumulation_steps: The optimizer's `gradient_accumulation_steps`, or 1. Set it only on the
            outermost of nested schedules, which Keras calls once per micro-step.
        warmup: `"gradual"` or `"legw"`. The latter needs `warmup_updates` above 0.
        name: The name of the schedule.

    Attributes:
        factor: The factor on the rate after the warm-up.

    Raises:
        ValueError: If an argument is out of range, if a rule is unknown or does not return a
            positive number, if an inner schedule has `accumulation_steps` above 1, or if the rate
            is already scaled for these batches (like `plan.learning_rate`). `get_config` raises it
            if a function is not registered.

    Warns if `large_batch` is below `small_batch`.

    Example:

    ```python
    import keras, keras_bigbatch as kbb
    base = keras.optimizers.schedules.CosineDecay(0.1, decay_steps=78_000)
    rate = kbb.LearningRateScaler(base, small_batch=128, large_batch=4096, warmup_updates=390)
    print(float(rate(0)), float(rate(390)))    # 0.1, then 0.1 * sqrt(32), less the decay so far
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 4, equation 7
        - [Goyal et al., 2017](https://arxiv.org/abs/1706.02677), sections 2.1 and 2.2
        - [You et al., 2019](https://arxiv.org/abs/1901.08256), LEGW, section 3
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        small_batch: int,
        large_batch: int,
        rule: Rule = "sqrt",
        warmup_updates: int = 0,
        accumulation_steps: int = 1,
        warmup: Warmup = "gradual",
        name: str = "LearningRateScaler",
    ) -> None:
        super().__init__(learning_rate, small_batch, large_batch, accumulation_steps, name)
        self.rule = rule
        self.factor = scale_learning_rate(1.0, self.small_batch, self.large_batch, rule)
        self._change_once("scaled", self.factor)
        self.warmup_updates = positive_integer(
            "warmup_updates",
            warmup_updates,
            "It counts optimizer updates; 0 means no warm-up.",
            zero_allowed=True,
        )
        one_of("warmup", warmup, get_args(Warmup))
        self.warmup = warmup
        if self.warmup == "legw" and self.warmup_updates == 0:
            raise ValueError(
                "`warmup='legw'` needs a positive `warmup_updates` (`warmup_epochs` in "
                "`Regime.at`). Received: warmup_updates=0. Pass the length of the small-batch "
                "recipe's warm-up, or leave `warmup` out."
            )

    def _rate(self, update: Tensor) -> Tensor:
        return rate_at(self.learning_rate, update) * self._factor(update)

    def _factor(self, update: Tensor) -> Tensor | float:
        """The factor at an update, during the warm-up or after it."""
        length = self.warmup_updates
        if length == 0:
            return self.factor
        # Clipped as integers: a large update count would lose digits as a float.
        done = ops.cast(ops.minimum(update, length), rate_dtype())
        if self.warmup == "legw":
            return self.factor * ((done + 1) / (length + 1))
        progress = done / length
        # Exactly 1 at the start and exactly the factor at the end, in floating point too.
        return (1 - progress) + self.factor * progress

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "rule": self._serialized_rule(),
            "warmup_updates": self.warmup_updates,
            "warmup": self.warmup,
        }

    def _serialized_rule(self) -> Any:
        if not callable(self.rule):
            return self.rule
        target = self.rule if inspect.isfunction(self.rule) else type(self.rule)
        saving = keras.saving
        if saving.get_registered_object(saving.get_registered_name(target)) is None:
            # Keras would write a file that cannot be read back.
            raise ValueError(
                "A `LearningRateScaler` can be saved only if its `rule` is a name or registered "
                f"with Keras. Received: rule={self.rule!r}. Define it as a named function and "
                "put `@keras.saving.register_keras_serializable()` above it."
            )
        return saving.serialize_keras_object(self.rule)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        rule = config["rule"]
        if isinstance(rule, dict):
            rule = keras.saving.deserialize_keras_object(rule)
        return super().from_config({**config, "rule": rule})
