"""LARS with medians in place of norms."""

from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch.optimizers._layerwise import LayerwiseOptimizer


@serializable
class MCLR(LayerwiseOptimizer):
    """Gives each layer a rate in proportion to its median weight over its median gradient.

    Use it to compare with `LARS`, which it equals on layers of Gaussian weights and gradients; it
    differs where a few elements carry a layer's norm, which medians do not see. An update is

        u = g + weight_decay * w
        ratio = median(abs(w)) / (median(abs(g)) + weight_decay * median(abs(w)))
        v = momentum * v - learning_rate * trust_coefficient * ratio * u;  w = w + v

    Where a variable has more zeros than other values (in its weight, or in its gradient, such as an
    embedding's), the median is 0 and the variable moves with ratio 1. `LayerwiseOptimizer` says
    what weight decay (coupled, not Keras's), `exclude`, `trust_ratios` and growth mean.

    Differs from the paper, whose medians are of the signed values: those are noise around zero,
    which for a layer of 100 000 Gaussian values and a true ratio of 5 gives anything from 0.3 to 52
    (90 % of draws), where absolute values give 4.95 to 5.04. The authors do not recommend the
    method above batches of about 8192. In `python -m reproduction methods` it is level with
    `LARS`, and at twice its best rate the network does not train.

    A median takes longer than a norm. A step over ResNet50's variables on one CPU core takes 8
    times a plain SGD step on JAX, 14 times on TensorFlow and 36 times on PyTorch
    (`benchmarks/optimizers.py --all`). A variable without values, or with a NaN, has no median.

    Args:
        learning_rate: A float, a `LearningRateSchedule` in updates, or a callable.
        momentum: At least 0 and less than 1.
        trust_coefficient: The relative step at rate 1.
        weight_decay: The coupled decay, 0 or more.
        nesterov: Whether to use Nesterov's rule.
        exclude: Regular expressions, searched in the paths of variables that are not to adapt.
        rate_in_momentum: Whether the velocity has the rate in it.
        **kwargs: As for `LayerwiseOptimizer`.

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
        """The ratio of the medians; no finite, positive number where one is 0."""
        median = _backend.active().optimizer.median_magnitude
        size, slope = median(weight), median(gradient)
        return ops.sign(slope) * size / (slope + weight_decay * size)
