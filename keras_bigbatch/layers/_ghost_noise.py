"""Ghost noise: the noise of a small batch's statistics, without normalizing by them."""

from typing import Any

import keras
from keras import ops

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._serialization import SavedDraws, serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch._virtual_batch import check_positions
from keras_bigbatch.layers._channel_axis import channel_axis, check_axis
from keras_bigbatch.layers._drawn_moments import drawn_moments
from keras_bigbatch.layers._mask import kept_positions, passed_on

# Samples in a batch: places in the matrix of all pairs are counted in int32.
_MOST = 46_340


@serializable
class GhostNoise(SavedDraws, keras.layers.Layer):
    """Adds the noise of small, "ghost" batches' statistics, without normalizing by them.

    Use it after a `keras.layers.BatchNormalization` with the same `axis`. You get the noise of
    ghost batch norm, while the batch norm still normalizes by the whole batch. In training, each
    sample gets its own group: `virtual_batch` samples that are drawn from the batch with
    replacement. No gradient flows through the statistics:

    `y = (x - mean(group)) * deviation(batch) / deviation(group) + mean(batch)`

    with `deviation = sqrt(variance + epsilon)`. Moments are taken over the samples and all
    positions, in float32 even under mixed precision (float64 for float64 input on TensorFlow). For
    feature vectors, the noise of the mean has the variance `variance(batch) / virtual_batch`. In
    inference, or with `trainable=False`, the output is the input. Any batch size works, even one
    below `virtual_batch`. The layer has no weights. On many devices, replicas draw from their own
    part of the batch (on JAX, from the whole batch). With gradient accumulation, the batch is the
    micro-batch.

    A `mask` leaves positions out of the statistics, as for `GhostBatchNormalization`. A sample
    whose group is fully masked gets no noise.

    For a batch of B samples and C channels, the call needs a `[B, B]` matrix and multiplies it
    twice with a `[B, C]` matrix.

    The authors' code also multiplies `mean(batch)` by the ratio of deviations. There, the mean is 0
    because the noise is added before batch norm's `gamma` and `beta`. Here, the noise may come
    after them.

    Args:
        virtual_batch: Number of samples drawn for each sample, an integer of 1 or more. Use 8 or
            more for feature vectors, because the deviation of a few values may be near 0.
        axis: The channel axis. It cannot be 0, which is the batch axis.
        epsilon: Added to both variances, positive.
        seed: Seed of the random draws, an integer of 0 or more, or None for a random seed. The
            random state is saved with the weights, so a resumed run is exact.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Raises:
        ValueError: If `virtual_batch` is not a positive integer, `epsilon` is not positive, `seed`
            is negative or not an integer, or `axis` is the batch axis or not an axis of the input.

    Example:

    ```python
    import keras, numpy as np
    from keras_bigbatch.layers import GhostNoise
    norm = [keras.layers.BatchNormalization(), GhostNoise(virtual_batch=32)]
    model = keras.Sequential([keras.layers.Dense(16, use_bias=False), *norm, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.random.normal(size=(200, 4)), np.zeros((200, 1)), batch_size=200, verbose=0)
    ```

    References:
        - [Kosson, Fan & Jaggi, 2023](https://arxiv.org/abs/2305.17205)
    """

    def __init__(
        self,
        virtual_batch: int,
        axis: int = -1,
        epsilon: float = 1e-3,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        virtual_batch = positive_integer(
            "virtual_batch", virtual_batch, "It is the number of samples drawn for each sample."
        )
        check_axis(axis)
        epsilon = positive_number("epsilon", epsilon, "It is added to the variances, 1e-3 or so.")
        if seed is not None:
            seed = positive_integer("seed", seed, "None is a random one.", zero_allowed=True)
        super().__init__(**kwargs)
        self.virtual_batch = virtual_batch
        self.axis = int(axis)
        self.epsilon = epsilon
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        axis = channel_axis(self.axis, input_shape)
        self.input_spec = keras.layers.InputSpec(ndim=len(input_shape))
        check_positions(
            self.virtual_batch,
            [*input_shape[1:axis], *input_shape[axis + 1 :]],
            "whose deviation is 0: in training the output is divided by the root of `epsilon`.",
        )

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Adds the noise in training.

        Args:
            inputs: Tensor of rank 2 or more, with the batch on axis 0.
            training: True adds the noise. False, or None outside `fit`, returns the input
                unchanged.
            mask: Boolean tensor, array or nested list with one axis less than the input, or None.

        Returns:
            A tensor of the input's shape in the layer's compute dtype.
        """
        # A replica may get no sample at all; where that is known, nothing can be drawn from.
        if training and self.trainable and inputs.shape[0] != 0:
            axis = self.axis % len(inputs.shape)
            if mask is not None:
                mask = kept_positions(ops.convert_to_tensor(mask), inputs, axis)
            inputs = self._with_noise(inputs, axis, mask)
        return ops.cast(inputs, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def compute_mask(self, inputs: Tensor, previous_mask: Any) -> Tensor | None:  # noqa: ARG002
        return passed_on(previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "virtual_batch": self.virtual_batch,
            "axis": self.axis,
            "epsilon": self.epsilon,
            "seed": self.seed,
        }

    def _with_noise(self, inputs: Tensor, axis: int, mask: Tensor | None) -> Tensor:
        # Half precision overflows in the squares.
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        counts = self._drawn(ops.shape(x)[0], keras.backend.standardize_dtype(x.dtype))
        centre, batch, groups = drawn_moments(
            ops.stop_gradient(x), counts, self.virtual_batch, axis, mask
        )
        scale = ops.sqrt((batch.variance + self.epsilon) / (groups.variance + self.epsilon))
        positions = tuple(i for i in range(1, len(x.shape)) if i != axis)
        centre, shift, scale, back = (
            ops.expand_dims(each, positions) if positions else each
            for each in (centre, groups.mean, scale, centre + batch.mean)
        )
        return (x - centre - shift) * scale + back

    def _drawn(self, batch: Tensor, dtype: str) -> Tensor:
        """How often each sample is in each sample's group: [B, B]."""
        if isinstance(batch, int) and batch > _MOST:
            raise ValueError(
                f"GhostNoise takes batches of up to {_MOST} samples, as it needs a matrix of that "
                f"size squared. Received: a batch of {batch}. Pass a smaller batch to `fit`, with "
                "`gradient_accumulation_steps`, or use `GhostBatchNormalization`."
            )
        end = batch if isinstance(batch, int) else ops.maximum(batch, 1)
        shape = (batch, self.virtual_batch)
        # Replicas have the same random state. Their groups are of the same places, but of others'
        # samples, so that their noise is not the same.
        drawn = keras.random.randint(shape, 0, end, dtype="int32", seed=self.seed_generator)
        # Counted at the places of the flat matrix: the sum of one-hot rows has a form in between
        # that is `virtual_batch` times as large.
        places = drawn + ops.expand_dims(ops.arange(batch, dtype="int32") * batch, 1)
        ones = ops.ones((batch * self.virtual_batch,), dtype)
        counts = ops.segment_sum(ones, ops.reshape(places, (-1,)), batch * batch)
        return ops.reshape(counts, (batch, batch))
