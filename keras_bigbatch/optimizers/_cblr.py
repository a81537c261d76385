"""Steps by the radius of curvature of each weight."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_bigbatch._rates.learning_rates import OptimizerLearningRate
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer


@serializable
class CBLR(LayerwiseOptimizer):
    """Moves each weight by a fixed fraction of itself, against the sign of its gradient.

    Use it for analysis, not for training. The paper sets each weight's rate to the radius of
    curvature, which it estimates as `abs(w / g)`. Multiplied by the gradient, that gives

        u = g + weight_decay * w
        ratio = abs(w) / (abs(g) + weight_decay * abs(w)), for each element
        v = momentum * v - learning_rate * trust_coefficient * ratio * u;  w = w + v

    or, without momentum and decay, `w = w - rate * abs(w) * sign(g)`. So the step ignores the
    gradient's size. While `learning_rate * trust_coefficient` is below 1, no weight ever changes
    its sign, and a weight of zero stays zero. Momentum is off by default, because with it, none of
    this holds exactly.

    A zero weight never moves, even if the whole tensor is zero. You must therefore exclude
    variables that start at zero. Biases and beta are excluded by default. A warning names any
    others when the optimizer is built; add their paths. `trust_ratios` shows the norm of the scaled
    update divided by the norm of the update. See `LayerwiseOptimizer` for weight decay (coupled,
    not Keras's), `exclude` and the growth of weights.

    The only difference from the paper is two minus signs that are missing in its equations 5 and
    11.

    Args:
        momentum: At least 0 and less than 1.
        trust_coefficient: The step as a fraction of the weight, at rate 1.
        **kwargs: All other arguments are as for `LayerwiseOptimizer`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(kbb.optimizers.CBLR(), "mse")
    model.fit(np.random.rand(512, 8), np.random.rand(512), batch_size=256, verbose=0)
    ```

    References:
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", equations 9 to 11 and 16 to 19
    """

    def __init__(
        self,
        learning_rate: OptimizerLearningRate = 0.3,
        momentum: float = 0.0,
        trust_coefficient: float = 0.001,
        weight_decay: float | None = 0.0,
        nesterov: bool = False,
        exclude: Sequence[str] = ("bias", "gamma", "beta"),
        rate_in_momentum: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            momentum,
            trust_coefficient,
            weight_decay,
            nesterov,
            exclude,
            rate_in_momentum,
            **kwargs,
        )

    def trust_ratio(self, weight: Tensor, gradient: Tensor, weight_decay: float) -> Tensor:
        """Returns the ratio of each element, 0 if its gradient is practically 0."""
        size = ops.abs(weight)
        ratio = ops.divide_no_nan(size, ops.abs(gradient) + weight_decay * size)
        return ops.where(ratio < float("inf"), ratio, ops.zeros_like(ratio))
