"""The base of all optimizers that give every variable its own rate."""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._arguments import boolean, patterns, positive_number
from keras_bigbatch._private_api import uses_weight_decay, variable_index
from keras_bigbatch._rates.learning_rates import OptimizerLearningRate
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._growth import warn_of_growth
from keras_bigbatch.optimizers._zero_start import warn_of_zero_start


class LayerwiseOptimizer(keras.optimizers.Optimizer, ABC):
    """Base class for optimizers whose step in each variable is relative to the variable's size.

    Subclass it to try your own rule. The only method to write is `trust_ratio`. `LARS`,
    `PercentDelta`, `MCLR` and `CBLR` are such subclasses. For a variable with weight `w` and
    gradient `g`, an update is

        u = g + weight_decay * w
        v = momentum * v - learning_rate * trust_coefficient * trust_ratio(w, g) * u
        w = w + v

    *Weight decay* is coupled: part of `u`, inside the ratio and the momentum. Keras's own decay,
    which also subtracts `learning_rate * weight_decay * w` from the weights, is switched off.

    *Exclusion*: variables that match `exclude` get plain SGD with momentum at `learning_rate`
    itself, without decay. Variables in `exclude_from_weight_decay` adapt without decay. *Zeros*: if
    the ratio is not positive and finite, the ratio times `trust_coefficient` is set to 1. For a
    weight that starts at zero, the step is `1 / trust_coefficient` times a usual one, and you get a
    warning when the optimizer is built. *Growth*: without decay, the weights grow without bound.
    The constructor warns if they grow by a factor of e in under 1000 updates. *Logging*:
    `trust_ratios` contains the factors of the last update. In a callback, read
    `self.model.optimizer.trust_ratios`.

    Args:
        learning_rate: A float, a `LearningRateSchedule` in updates, or a callable.
        momentum: At least 0 and less than 1. 0 keeps no velocity.
        trust_coefficient: The factor on the ratio. Multiplied by the rate, it is the relative step,
            by default 0.0003 of a weight's norm per update.
        weight_decay: The coupled weight decay, 0 or more. None means 0.
        nesterov: Whether to use Nesterov momentum, as in `keras.optimizers.SGD`.
        exclude: Regular expressions to search for in a variable's path (`"dense_1/kernel"`).
            `"bias"` also matches a layer named `"unbiased"`; `"/bias$"` only matches the variable's
            name. Case matters.
        rate_in_momentum: True is the update above, where a drop in the rate only affects new
            gradients. False multiplies `v` by the rate last, so a drop takes full effect at once.
        **kwargs: Arguments of `keras.optimizers.Optimizer` for clipping, EMA and accumulation,
            `loss_scale_factor` and `name`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb
    class SignAgreement(kbb.optimizers.LayerwiseOptimizer):
        def trust_ratio(self, weight, gradient, weight_decay):
            return keras.ops.mean(keras.ops.abs(weight)) / keras.ops.mean(keras.ops.abs(gradient))
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(SignAgreement(), "mse")
    model.fit(np.random.rand(64, 8), np.random.rand(64), batch_size=32, verbose=0)
    print(model.optimizer.trust_ratios)    # {"dense/kernel": ...}
    ```
    """

    def __init__(
        self,
        learning_rate: OptimizerLearningRate = 0.3,
        momentum: float = 0.9,
        trust_coefficient: float = 0.001,
        weight_decay: float | None = 0.0,
        nesterov: bool = False,
        exclude: Sequence[str] = ("bias", "gamma", "beta"),
        rate_in_momentum: bool = True,
        **kwargs: Any,
    ) -> None:
        decay = positive_number(
            "weight_decay",
            0.0 if weight_decay is None else weight_decay,
            "It is part of the gradient that the ratio is computed from.",
            zero_allowed=True,
        )
        super().__init__(learning_rate=learning_rate, weight_decay=decay, **kwargs)
        self.momentum = positive_number("momentum", momentum, "0 for none.", zero_allowed=True)
        if self.momentum >= 1:
            raise ValueError(f"`momentum` must be less than 1. Received: momentum={momentum!r}.")
        self.trust_coefficient = positive_number(
            "trust_coefficient", trust_coefficient, "It multiplies the trust ratio."
        )
        self.nesterov = boolean("nesterov", nesterov)
        self.rate_in_momentum = boolean("rate_in_momentum", rate_in_momentum)
        self.exclude = patterns("exclude", exclude, "`exclude=()` lets all variables adapt.")
        if decay == 0:
            warn_of_growth(self, learning_rate)

    @abstractmethod
    def trust_ratio(self, weight: Tensor, gradient: Tensor, weight_decay: float) -> Tensor | float:
        """Returns the factor on the learning rate of one variable, without `trust_coefficient`.

        Args:
            weight: The variable's value, in float32 or float64.
            gradient: Its gradient, clipped and averaged, without weight decay; also in float32 or
                float64.
            weight_decay: The decay of this variable.

        Returns:
            A number or scalar, or a tensor like `weight` with one factor per element. A tensor is
            not checked. The precision may differ from the weight's.
        """

    @property
    def trust_ratios(self) -> dict[str, float]:
        """The factor on the rate in the last update, by path, for each variable that adapts.

        It includes `trust_coefficient`. Before the first update, it is 1. If each element has its
        own ratio, it is the norm of the scaled `u` divided by the norm of `u`.
        """
        if not self.built:
            return {}
        pairs = zip(self._paths, self._ratios, strict=True)
        kept = {path: ratio for path, ratio in pairs if ratio is not None}
        if not kept:
            return {}
        # One copy to the host for all.
        values = ops.convert_to_numpy(ops.stack([ratio + 0 for ratio in kept.values()]))
        return dict(zip(kept, values.tolist(), strict=True))

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates a velocity for each variable, and a ratio for each variable that adapts."""
        if self.built:
            return
        super().build(variables)
        self._velocities = []
        if self.momentum:
            self._velocities = self.add_optimizer_variables(variables, "momentum")
        self._paths = [getattr(variable, "path", variable.name) for variable in variables]
        distribution = keras.distribution.distribution()
        # Explicit, since a layout map's pattern may match a name that contains a weight's name.
        layout = distribution and keras.distribution.TensorLayout([], distribution.device_mesh)
        self._ratios = [
            None
            if any(re.search(pattern, path) for pattern in self.exclude)
            else self.add_variable((), "ones", "float32", layout=layout, name="trust_ratio")
            for path in self._paths
        ]
        pairs = zip(variables, self._ratios, strict=True)
        warn_of_zero_start(self, [variable for variable, ratio in pairs if ratio is not None])

    def _velocity_and_ratio(
        self, variable: keras.Variable
    ) -> tuple[keras.Variable | None, keras.Variable | None]:
        """Returns the variable's velocity (None: no momentum) and ratio (None: excluded)."""
        index = variable_index(self, variable)
        return self._velocities[index] if self._velocities else None, self._ratios[index]

    def _keeps(self, *methods: str) -> bool:
        """Returns whether these methods are not overridden, so that faster code may stand in."""
        return all(
            name not in vars(self)
            and getattr(type(self), name) is getattr(LayerwiseOptimizer, name)
            for name in methods
        )

    def _factor(
        self, variable: keras.Variable, weight: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor, float]:
        """Returns the factor on the rate, the scalar for it in `trust_ratios`, and the decay."""
        decay = self.weight_decay
        if decay and not uses_weight_decay(self, variable):
            decay = 0.0
        ratio: Any = self.trust_ratio(weight, gradient, decay)
        # Checked first, since torch gets here in each step for each variable.
        if getattr(ratio, "dtype", None) != weight.dtype:
            ratio = ops.cast(ratio, weight.dtype)
        if len(ratio.shape) == 0:
            factor = _backend.active().optimizer.usable_factor(ratio, self.trust_coefficient)
            return factor, factor, decay
        factor = self.trust_coefficient * ratio
        update = gradient + decay * weight
        norm = _backend.active().optimizer.norm
        return factor, ops.divide_no_nan(norm(factor * update), norm(update)), decay

    def update_step(
        self, gradient: Tensor, variable: keras.Variable, learning_rate: Tensor
    ) -> None:
        """Updates one variable, as described for the class."""
        wide = keras.backend.result_type(variable.dtype, "float32")
        rate = ops.cast(learning_rate, wide)
        update = ops.cast(_backend.active().optimizer.dense(gradient), wide)
        velocity, kept_ratio = self._velocity_and_ratio(variable)
        factor: Tensor = 1.0
        if kept_ratio is not None:
            weight = ops.cast(variable, wide)
            factor, shown, decay = self._factor(variable, weight, update)
            update = update + decay * weight if decay else update
            self.assign(kept_ratio, ops.cast(shown, "float32"))
        step = _backend.active().optimizer.momentum_step
        step(self, variable, velocity, factor, rate, update)

    # The two overrides below are of methods that Keras does not promise to keep: `_private_api`
    # says what happens if they go.
    def _backend_update_step(
        self,
        grads: Sequence[Tensor],
        trainable_variables: Sequence[keras.Variable],
        learning_rate: Tensor,
    ) -> None:
        together = _backend.active().optimizer.update_together
        kept = self._keeps("update_step", "assign", "assign_add")
        if not kept or not together(self, grads, trainable_variables, learning_rate):
            super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables: Sequence[keras.Variable]) -> None:
        """Does nothing, which switches off Keras's decoupled decay."""

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "trust_coefficient": self.trust_coefficient,
            "nesterov": self.nesterov,
            "exclude": list(self.exclude),
            "rate_in_momentum": self.rate_in_momentum,
        }


def size_over_slope(size: Tensor, slope: Tensor, weight_decay: float) -> Tensor:
    """Returns `size / (slope + weight_decay * size)`; if one is 0, not finite and positive."""
    # The decay alone is not enough: the result is 0 where the slope of the loss is 0.
    return ops.sign(slope) * size / (slope + weight_decay * size)
