"""Steps of a given percentage of the weights."""

from keras import ops

from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer, size_over_slope


@serializable
class PercentDelta(LayerwiseOptimizer):
    """Scales each layer's rate so that all layers' weights change by the same average percentage.

    Use it to compare with `LARS`. Like `LARS`, it makes the step independent of the gradient's
    size, but it uses the relative change of each element. An update is

        u = g + weight_decay * w
        ratio = 1 / (mean(abs(g / w)) + weight_decay)
        v = momentum * v - learning_rate * trust_coefficient * ratio * u;  w = w + v

    Without momentum and decay, the mean of `abs(step / w)` is therefore exactly
    `learning_rate * trust_coefficient`. Weights of zero are left out of the mean. If all weights or
    the whole gradient are zero, the ratio is 1: about `1 / trust_coefficient` times a usual step.
    When the optimizer is built, it warns about variables that start at zero. See
    `LayerwiseOptimizer` for weight decay (coupled, not Keras's), `exclude`, `trust_ratios` and the
    growth of weights.

    For normally distributed weights, `abs(g / w)` has no finite expectation. A few tiny weights
    dominate the mean, and the ratio decreases with the layer's size. For a true ratio of 5, it is
    about 1.4 with 100 weights, 0.75 with 10 000 and 0.62 with 100 000. So large layers move less
    than with `LARS`, and rates do not carry over.

    Args:
        trust_coefficient: The mean relative step at rate 1.
        **kwargs: All other arguments are as for `LayerwiseOptimizer`.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(kbb.optimizers.PercentDelta(weight_decay=1e-4), "mse")
    model.fit(np.random.rand(512, 8), np.random.rand(512), batch_size=256, verbose=0)
    ```

    References:
        - [Abu-El-Haija, 2017](https://arxiv.org/abs/1708.07227)
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", equation 24
    """

    def trust_ratio(self, weight: Tensor, gradient: Tensor, weight_decay: float) -> Tensor:
        """Returns the number of nonzero weights over the sum of relative gradients and decays."""
        # `divide_no_nan` gives 0 where the weight is 0: left out of the sum, as of the count.
        relative = ops.sum(ops.abs(ops.divide_no_nan(gradient, weight)))
        count = ops.sum(ops.cast(ops.not_equal(weight, 0.0), relative.dtype))
        return size_over_slope(count, relative, weight_decay)
