"""Ghost batch normalization: the statistics of a small batch inside a large one."""

from typing import Any, get_args

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._arguments import one_of, positive_integer
from keras_bigbatch._backend import GhostMoments
from keras_bigbatch._private_api import only_shapes_are_wanted
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch._virtual_batch import check_first_batch, check_positions
from keras_bigbatch.layers._channel_axis import channel_axis, check_axis
from keras_bigbatch.layers._group_alignment import check_alignment
from keras_bigbatch.layers._mask import kept_positions, passed_on
from keras_bigbatch.layers._moving_statistics import Statistics, moving_update

_REFUSED = {
    "renorm": "batch renormalization ties a batch to the moving statistics, which is the opposite "
    "of what ghost batches are for. Use `keras.layers.BatchNormalization(renorm=True)` instead.",
    "synchronized": "ghost statistics come from a few samples by design, and need no other "
    "device. Use `keras.layers.BatchNormalization(synchronized=True)` for statistics of all.",
}
# The name of this argument elsewhere: in Keras 2 and in Composer.
_OTHER_NAMES = ("virtual_batch_size", "ghost_batch_size")


@serializable
class GhostBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization with the statistics of small, "ghost" batches inside a large batch.

    Use it in place of `keras.layers.BatchNormalization` when you train at a larger batch than the
    recipe was tuned for. Set `virtual_batch` to the batch size that the recipe was tuned for, or
    less. The large batch then keeps the noise of small-batch statistics. Losing it is one reason
    why a large batch loses test accuracy. In training, each group of `virtual_batch` samples is
    normalized by its own moments:

    `y = gamma * (x - mean(group)) / sqrt(variance(group) + epsilon) + beta`

    Groups are contiguous along axis 0 and share `gamma` and `beta`. Leftover samples join the last
    group. A smaller batch is one group. Moments are taken over the group's samples and all
    positions, in float32 even under mixed precision (float64 for float64 input on TensorFlow). In
    inference, or with `trainable=False`, it is plain batch norm with the moving statistics. Weights
    have the names and shapes of plain batch norm. On many devices, replicas form groups from their
    own part of the batch (on JAX, from the whole batch) and share the moving statistics.

    A `mask` leaves positions out of the statistics. As in Keras, a new axis is appended to the
    mask, regardless of where the channel axis is. If that shape cannot be broadcast, the channel
    axis is added instead. A group that is fully masked or has non-finite moments is left out of the
    moving statistics. Non-finite moments make the outputs and the loss NaN, but do not affect later
    batches. A fully masked group has mean and variance 0, as in Keras, so the output is
    `gamma * x / sqrt(epsilon) + beta`. A feature constant in its group gives exactly `beta`.

    Args:
        virtual_batch: Samples in a ghost batch, an integer of 1 or more. With 1, the output is
            constant for feature vectors, and the layer is instance normalization for images.
        axis: The channel axis. It cannot be 0, which is the batch axis.
        momentum: Fraction of the moving statistics that each averaging step keeps, 0 to 1.
        statistics: How a training step updates the moving statistics. `"sequential"`: one step of
            the moving average per group, in order (Algorithm 1), so the time that the average takes
            to settle is counted in ghost batches, not large batches. `"mean"`: one step with the
            plain mean over the groups. `"batch"`: one step with the moments of the whole batch
            (exact, by the law of total variance), if they are finite.
        **kwargs: All other arguments, including those in the signature, are as in Keras's layer.

    Raises:
        ValueError: If `virtual_batch` is not a positive integer, `momentum` is not in [0, 1],
            `statistics` is unknown, `axis` is the batch axis, or `renorm` or `synchronized` is on.

    Example:

    ```python
    import keras, numpy as np
    from keras_bigbatch import GhostBatchNormalization
    norm = GhostBatchNormalization(virtual_batch=32)
    model = keras.Sequential([keras.layers.Dense(16, use_bias=False), norm, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    x, y = np.random.normal(size=(200, 4)), np.zeros((200, 1))
    model.fit(x, y, batch_size=200, verbose=0)  # 6 groups: 5 of 32 samples and one of 40
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 4 and Algorithm 1
    """

    def __init__(
        self,
        virtual_batch: int = 128,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        statistics: Statistics = "sequential",
        **kwargs: Any,
    ) -> None:
        for name, reason in _REFUSED.items():
            if kwargs.pop(name, False):
                raise ValueError(f"GhostBatchNormalization does not take `{name}=True`: {reason}")
        for name in _OTHER_NAMES:
            if name in kwargs:
                raise ValueError(
                    f"GhostBatchNormalization does not take `{name}`: its argument for the size of "
                    f"a ghost batch is `virtual_batch`. Received: {name}={kwargs[name]!r}. Use "
                    "`virtual_batch=` instead."
                )
        # Without `renorm` these have no effect, in Keras as here.
        kwargs.pop("renorm_clipping", None)
        kwargs.pop("renorm_momentum", None)
        virtual_batch = positive_integer(
            "virtual_batch", virtual_batch, "It is the number of samples in a ghost batch."
        )
        one_of("statistics", statistics, get_args(Statistics))
        if not 0 <= momentum <= 1:
            raise ValueError(
                "`momentum` must be in [0, 1]: it is the fraction of the moving statistics that "
                f"one step keeps. Received: momentum={momentum!r}."
            )
        check_axis(axis)
        super().__init__(
            axis=axis,
            momentum=momentum,
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=beta_initializer,
            gamma_initializer=gamma_initializer,
            moving_mean_initializer=moving_mean_initializer,
            moving_variance_initializer=moving_variance_initializer,
            beta_regularizer=beta_regularizer,
            gamma_regularizer=gamma_regularizer,
            beta_constraint=beta_constraint,
            gamma_constraint=gamma_constraint,
            **kwargs,
        )
        self.virtual_batch = virtual_batch
        self.statistics = statistics
        self._first_batch_checked = False

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        axis = channel_axis(self.axis, input_shape)
        super().build(input_shape)
        check_positions(self.virtual_batch, [*input_shape[1:axis], *input_shape[axis + 1 :]])

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Normalizes `inputs`.

        Args:
            inputs: Tensor of rank 2 or more, with the batch on axis 0.
            training: True normalizes by the statistics of the ghost batches and updates the moving
                statistics. False, or None outside `fit`, normalizes by the moving statistics.
            mask: Boolean tensor, array or nested list, as described for the class, or None.

        Returns:
            A tensor of the input's shape in the layer's compute dtype.
        """
        if mask is not None:
            mask = ops.convert_to_tensor(mask)
        axis = self.axis % len(inputs.shape)
        trains = training and self.trainable and not only_shapes_are_wanted()
        # Without channels there is nothing to normalize, and no moving statistics.
        if not trains or inputs.shape[axis] == 0:
            return super().call(inputs, training=False, mask=mask)
        if mask is not None:
            mask = kept_positions(mask, inputs, axis)
        check_first_batch(self, inputs.shape[0])
        check_alignment(inputs.shape[0], self.virtual_batch)

        outputs, moments = self._normalized_by_groups(inputs, mask)
        moving_mean, moving_variance = moving_update(
            ops.convert_to_tensor(self.moving_mean),
            ops.convert_to_tensor(self.moving_variance),
            moments,
            self.momentum,
            self.statistics,
        )
        self.moving_mean.assign(moving_mean)
        self.moving_variance.assign(moving_variance)
        return ops.cast(outputs, self.compute_dtype)

    def _normalized_by_groups(
        self, inputs: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, GhostMoments]:
        """Returns the output and the groups' moments. The mask has the input's rank."""
        precision = keras.backend.result_type(inputs.dtype, "float32")
        return _backend.active().ghost_norm.ghost_normalize(
            inputs,
            ops.cast(self.gamma, precision) if self.scale else None,
            ops.cast(self.beta, precision) if self.center else None,
            self.virtual_batch,
            self.axis % len(inputs.shape),
            self.epsilon,
            mask,
        )

    def compute_mask(self, inputs: Tensor, previous_mask: Any) -> Tensor | None:  # noqa: ARG002
        return passed_on(previous_mask)

    def load_own_variables(self, store: Any) -> None:
        if self.variables and not len(store.keys()):
            raise ValueError(
                f"The file has no weights for the ghost batch norm {self.name!r}. A `.weights.h5` "
                "names them after the class, so it may come from a model with plain batch norm. "
                "Load it into that model, then convert with `keras_bigbatch.layers.to_ghost`."
            )
        super().load_own_variables(store)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        # Refused here, and unknown to older versions of Keras, which can thus load the file.
        for name in ("renorm", "renorm_clipping", "renorm_momentum", "synchronized"):
            config.pop(name, None)
        return {**config, "virtual_batch": self.virtual_batch, "statistics": self.statistics}
