"""Layer-wise adaptive rate scaling."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._arguments import one_of
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer

_DENOMINATORS = ("sum", "gradient", "decayed_gradient")


@serializable
class LARS(LayerwiseOptimizer):
    """Gives each layer a rate in proportion to the norm of its weights over that of its gradient.

    Use it in place of SGD with momentum at batches so large that SGD at a scaled rate diverges or
    crawls, on networks with batch norm. For transformers, or in place of Adam, use Keras's own
    `keras.optimizers.Lamb`, which is the same idea over Adam's update (its `weight_decay` is
    decoupled, outside its ratio, so only without decay is it LAMB as published). With all norms
    over a whole variable, an update is

        u = g + weight_decay * w
        v = momentum * v - learning_rate * trust_coefficient * norm(w) / denominator * u
        w = w + v

    | `denominator` | is | as in |
    |---|---|---|
    | `"sum"` | `norm(g) + weight_decay * norm(w)` | the LARS paper, timm, apex |
    | `"gradient"` | `norm(g)` | Gao and Zhong, equation 23 |
    | `"decayed_gradient"` | `norm(g + weight_decay * w)` | optax, TensorFlow's model garden |

    Without decay they are the same. `rate_in_momentum=True` is the paper's and optax's order;
    timm and apex multiply by the rate last (False).

    *Rates*: `learning_rate * trust_coefficient` is the relative step of an update, 0.0003 at the
    defaults; momentum makes it up to 10 times that. The excluded variables (biases, and batch
    norm's gamma and beta) get SGD at `learning_rate` itself. Rates for SGD do not carry over. The
    paper's is `trust_coefficient=0.001` with rates of 1 to 30, warmed up and decayed.

    *Weight decay* is in the ratio, not Keras's decoupled one, and is what keeps a long training
    alive: without it the weights grow without bound. At a relative step of 0.05 the network of
    `python -m reproduction methods --collapse` is at chance after 800 updates, even at a rate that
    falls to 0; with `weight_decay=1e-4` it is not, and with both it ends best. See
    `LayerwiseOptimizer`, which also says what zeros, `exclude`, `trust_ratios` and precision mean.

    Differs from apex in that ratios are not clipped, and from timm in that no epsilon is added; a
    zero norm gives the ratio 1 (with `"decayed_gradient"`, as in optax, it is the denominator that
    counts).

    Args:
        learning_rate: A float, a `LearningRateSchedule` in updates, or a callable.
        momentum: At least 0 and less than 1.
        trust_coefficient: The relative step at rate 1.
        weight_decay: The coupled decay, 0 or more.
        nesterov: Whether to use Nesterov's rule.
        exclude: Regular expressions, searched in the paths of variables that are not to adapt.
        denominator: One of the table.
        rate_in_momentum: Whether the velocity has the rate in it.
        **kwargs: As for `LayerwiseOptimizer`.

    Raises:
        ValueError: If an argument is not as above.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    rate = keras.optimizers.schedules.CosineDecay(0.0, 200, warmup_target=2.0, warmup_steps=20)
    model.compile(kbb.optimizers.LARS(rate, weight_decay=1e-4), "mse")
    model.fit(np.random.rand(512, 8), np.random.rand(512), batch_size=256, verbose=0)
    print(model.optimizer.trust_ratios)
    ```

    References:
        - [You, Gitman & Ginsburg, 2017](https://arxiv.org/abs/1708.03888), section 4, equation 6,
          algorithm 1
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", equation 23
        - [You et al., 2020](https://arxiv.org/abs/1904.00962), LAMB, algorithm 2
    """

    def __init__(
        self,
        learning_rate: Any = 0.3,
        momentum: float = 0.9,
        trust_coefficient: float = 0.001,
        weight_decay: float | None = 0.0,
        nesterov: bool = False,
        exclude: Sequence[str] = ("bias", "gamma", "beta"),
        denominator: str = "sum",
        rate_in_momentum: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            trust_coefficient=trust_coefficient,
            weight_decay=weight_decay,
            nesterov=nesterov,
            exclude=exclude,
            rate_in_momentum=rate_in_momentum,
            **kwargs,
        )
        self.denominator = one_of("denominator", denominator, _DENOMINATORS)

    def trust_ratio(self, weight: Tensor, gradient: Tensor, weight_decay: float) -> Tensor:
        """`norm(weight)` over the denominator; no finite, positive number where one is 0."""
        norm = _backend.active().optimizer.norm
        size = norm(weight)
        if weight_decay and self.denominator == "decayed_gradient":
            return size / norm(gradient + weight_decay * weight)
        slope = norm(gradient)
        if weight_decay and self.denominator == "sum":
            # The decay alone is no slope to go by: 0 where that of the loss is 0.
            return ops.sign(slope) * size / (slope + weight_decay * size)
        return size / slope

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "denominator": self.denominator}
