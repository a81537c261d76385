"""LARS with medians in place of norms."""

from keras_bigbatch import _backend
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer, size_over_slope


@serializable
class MCLR(LayerwiseOptimizer):
    """Sets each layer's rate in proportion to its median weight over its median gradient.

    Use it to compare with `LARS`. The two are equal on layers with Gaussian weights and gradients.
    They differ if a few large elements dominate a layer's norm, because medians ignore them. An
    update is

        u = g + weight_decay * w
        ratio = median(abs(w)) / (median(abs(g)) + weight_decay * median(abs(w)))
        v = momentum * v - learning_rate * trust_coefficient * ratio * u;  w = w + v

    If most values of a variable or its gradient are zero, as in an embedding's gradient, the median
    is 0 and the variable moves with ratio 1: about `1 / trust_coefficient` times a usual step. When
    the optimizer is built, it warns about variables that start at zero. See `LayerwiseOptimizer`
    for weight decay (coupled, not Keras's), `exclude`, `trust_ratios` and the growth of weights.

    The paper takes medians of the signed values, which are noise around zero. The authors do not
    recommend the method above batches of about 8192.

    A median takes several times as long as a norm. A variable that is empty or contains a NaN has
    no median.

    Args:
        **kwargs: All arguments are as for `LayerwiseOptimizer`.

    Raises:
        ValueError: If an argument is invalid.

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
        """Returns the ratio of the medians; not finite and positive if either is 0."""
        median = _backend.active().optimizer.median_magnitude
        size, slope = median(weight), median(gradient)
        return size_over_slope(size, slope, weight_decay)
