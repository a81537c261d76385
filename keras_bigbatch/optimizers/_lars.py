"""Layer-wise adaptive rate scaling."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from keras_bigbatch import _backend
from keras_bigbatch._arguments import one_of
from keras_bigbatch._rates.learning_rates import OptimizerLearningRate
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer, size_over_slope

_Denominator = Literal["sum", "gradient", "decayed_gradient"]
_DENOMINATORS: tuple[_Denominator, ...] = get_args(_Denominator)


@serializable
class LARS(LayerwiseOptimizer):
    """Sets each layer's rate in proportion to the norm of its weights over that of its gradient.

    Use it in place of SGD with momentum on networks with batch norm, if the batch is so large that
    SGD at a scaled rate diverges or crawls. If the recipe uses Adam, keep it (see
    `scale_optimizer`), or use `keras.optimizers.Lamb`, which applies this ratio to Adam's update.
    With all norms taken over a whole variable, an update is

        u = g + weight_decay * w
        v = momentum * v - learning_rate * trust_coefficient * norm(w) / denominator * u
        w = w + v

    | `denominator` | value | used in |
    |---|---|---|
    | `"sum"` | `norm(g) + weight_decay * norm(w)` | the LARS paper, timm, apex |
    | `"gradient"` | `norm(g)` | Gao and Zhong, equation 23 |
    | `"decayed_gradient"` | `norm(g + weight_decay * w)` | optax, TensorFlow's model garden |

    `learning_rate * trust_coefficient` is the relative step of an update, 0.0003 by default. With
    momentum, it is up to 10 times that. Rates for SGD do not carry over. Biases, gamma and beta get
    SGD at `learning_rate` itself. Without weight decay (in the ratio, not Keras's decoupled decay),
    the weights grow without bound in a long run. See `LayerwiseOptimizer`.

    Unlike apex, it does not clip ratios. Unlike timm, it adds no epsilon: if a norm is zero, the
    ratio is 1. So a weight that starts at zero takes a large first step (see `LayerwiseOptimizer`).

    Args:
        learning_rate: A float, a `LearningRateSchedule` in updates, or a callable.
        momentum: At least 0 and less than 1.
        trust_coefficient: The relative step at rate 1. The paper uses 0.001, with rates of 1 to 30.
        weight_decay: The coupled weight decay, 0 or more.
        nesterov: Whether to use Nesterov momentum.
        exclude: Regular expressions. Variables whose path contains a match get plain SGD.
        denominator: One from the table. Without weight decay, they are all the same.
        rate_in_momentum: Whether the velocity includes the rate. True is as in the paper and optax.
        **kwargs: As for `LayerwiseOptimizer`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    rate = keras.optimizers.schedules.CosineDecay(0.0, 200, warmup_target=2.0, warmup_steps=20)
    model.compile(kbb.optimizers.LARS(rate, weight_decay=1e-4), "mse")
    model.fit(np.random.rand(512, 8), np.random.rand(512), batch_size=256, verbose=0)
    ```

    References:
        - [You et al., 2017](https://arxiv.org/abs/1708.03888), section 4, equation 6, algorithm 1
    """

    def __init__(
        self,
        learning_rate: OptimizerLearningRate = 0.3,
        momentum: float = 0.9,
        trust_coefficient: float = 0.001,
        weight_decay: float | None = 0.0,
        nesterov: bool = False,
        exclude: Sequence[str] = ("bias", "gamma", "beta"),
        denominator: _Denominator = "sum",
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
        self.denominator = one_of("denominator", denominator, _DENOMINATORS)

    def trust_ratio(self, weight: Tensor, gradient: Tensor, weight_decay: float) -> Tensor:
        """Returns `norm(weight)` over the denominator; not finite and positive if either is 0."""
        norm = _backend.active().optimizer.norm
        size = norm(weight)
        if weight_decay and self.denominator == "decayed_gradient":
            return size / norm(gradient + weight_decay * weight)
        slope = norm(gradient)
        if weight_decay and self.denominator == "sum":
            return size_over_slope(size, slope, weight_decay)
        return size / slope

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "denominator": self.denominator}
