"""LARS with medians in place of norms."""

from keras_bigbatch import _backend
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer, size_over_slope


@serializable
class MCLR(LayerwiseOptimizer):
    """Sets each layer's rate in proportion to its median weight over its median gradient.

    Use it to compare with `LARS`. The two are equal on layers with Gaussian weights and gradients.
    They differ where a few elements make up a layer's norm, which medians do not see. An update is

        u = g + weight_decay * w
        ratio = median(abs(w)) / (median(abs(g)) + weight_decay * median(abs(w)))
        v = momentum * v - learning_rate * trust_coefficient * ratio * u;  w = w + v

    If a variable has more zeros than other values (in its weight, or in its gradient, such as an
    embedding's), the median is 0 and the variable moves with ratio 1: some `1 / trust_coefficient`
    times a usual step. Building the optimizer warns of variables that start at zero. See
    `LayerwiseOptimizer` for weight decay (coupled, not Keras's), `exclude`, `trust_ratios` and
    growth.

    Differs from the paper, whose medians are of the signed values, which are noise around zero. The
    authors do not recommend the method above batches of about 8192.

    A median takes several times longer than a norm. A variable without values, or with a NaN, has
    no median.

    Args:
        **kwargs: All arguments are as for `LayerwiseOptimizer`.

    Raises:
        ValueError: If an argument is not as above.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(kbb.optimizers.MCLR(weight_decay=1e-4), "mse")
    model.fit(np.random.rand(512, 8), np.random.rand(512), batch_size=256, verbose=0)
    ```

    References:
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", equations 20 to 22, figure 16
    """

    def trust_ratio(self, weight: Tensor, gradient: Tensor, weight_decay: float) -> Tensor:
        """Returns the ratio of the medians; if one is 0, not finite and positive."""
        median = _backend.active().optimizer.median_magnitude
        size, slope = median(weight), median(gradient)
        return size_over_slope(size, slope, weight_decay)
