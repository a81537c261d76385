"""A model whose training loss has a small batch's noise, or keeps only the larger losses."""

import math
from typing import Any, Self

import keras
from keras import ops

from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch._updates import steps_an_update
from keras_bigbatch.training._gradient_noise import GradientNoise
from keras_bigbatch.training._sample_losses import SampleLosses


@serializable
class LargeBatchModel(keras.Model):
    """A functional model that weights the samples of a training batch.

    Use it to try two remedies from the papers with `compile` and `fit`. Both multiply each sample's
    loss by a weight. For a batch of M samples:

    - `gradient_noise` gives a large batch the gradient noise of a small one, at the same learning
      rate. The weights are drawn from `N(1, sigma^2)`. With `sigma^2 = B_L / B_S - 1`, the gradient
      has the covariance of a batch of size B_S. This cannot replace the updates that a large batch
      does not make.
    - `discard_small_loss` leaves out the `floor(fraction * M)` samples of each batch that have the
      smallest losses. The loss is the mean over the other samples. Batch norm still sees all
      samples.

    If you use both, the kept samples get the noise. Only the `loss` that `fit` reports is weighted.
    The metrics, `evaluate`, `validation_data` and `predict` are the same as for the plain model.
    The layers are shared with the original model, so training one trains the other.

    Regularization losses are never weighted. Sample and class weights multiply these weights. With
    several outputs, a sample's loss is the sum of its losses times the outputs' loss weights.

    Args:
        inputs: Input tensors of a functional model, for instance `model.inputs`.
        outputs: Its output tensors, for instance `model.outputs`.
        gradient_noise: sigma^2. Use `large_batch / small_batch - 1` for the noise of `small_batch`,
            or 0 for no noise.
        discard_small_loss: Fraction of the samples to leave out, at least 0 and less than 1. With
            gradient accumulation, it applies to each micro-batch.
        discard_updates: Discard only in this many first optimizer updates; None for all. The
            counter is a weight of the model, the first in `get_weights()`.
        seed: Seed of the noise. The random state is saved with the weights, so a resumed run is
            exact.
        name: Name of the model.
        trainable: Whether the weights are trainable.

    Raises:
        ValueError: If an argument is invalid. `compile` raises it if there is no loss to
            weight, or if a loss uses the reduction `"mean_with_sample_weight"`, which would undo
            the weights.

    Example:

    ```python
    import keras, numpy as np
    from keras_bigbatch.training import LargeBatchModel
    plain = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(1)])
    model = LargeBatchModel(plain.inputs, plain.outputs, gradient_noise=1024 / 64 - 1)
    model.compile(keras.optimizers.SGD(0.01, global_clipnorm=5.0), "mse")
    model.fit(np.random.rand(2048, 8), np.random.rand(2048, 1), batch_size=1024, verbose=0)
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), section 4 (the noise)
        - Gao & Zhong, "Study on the Large Batch Size Training of Neural Networks Based on the
          Second Order Gradient", section 3.1 (discarding)
    """

    def __init__(
        self,
        inputs: Any,
        outputs: Any,
        gradient_noise: float = 0.0,
        discard_small_loss: float = 0.0,
        discard_updates: int | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        gradient_noise = positive_number(
            "gradient_noise",
            gradient_noise,
            "It is sigma^2: large_batch / small_batch - 1, or 0 for no noise.",
            zero_allowed=True,
        )
        discard_small_loss = positive_number(
            "discard_small_loss",
            discard_small_loss,
            "It is the fraction of the samples to leave out, for instance 0.3.",
            zero_allowed=True,
        )
        if discard_small_loss >= 1:
            raise ValueError(
                "`discard_small_loss` must be less than 1. Received: "
                f"discard_small_loss={discard_small_loss}. It is a fraction: 0.3 for 30 %."
            )
        if discard_updates is not None:
            discard_updates = positive_integer(
                "discard_updates",
                discard_updates,
                "It is the number of first updates that discard; None for all.",
            )
            if not discard_small_loss:
                raise ValueError(
                    f"`discard_updates` needs a `discard_small_loss`. Received: discard_updates="
                    f"{discard_updates}, discard_small_loss={discard_small_loss}."
                )
        super().__init__(
            inputs=_single(inputs), outputs=_single(outputs), name=name, trainable=trainable
        )
        self.gradient_noise = gradient_noise
        self.discard_small_loss = discard_small_loss
        self.discard_updates = discard_updates
        self.seed = seed
        if gradient_noise:
            self.noise = GradientNoise(gradient_noise, seed)
        if discard_updates is not None:
            self.training_steps = keras.Variable(
                0, dtype="int32", trainable=False, name="training_steps"
            )

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        **kwargs: Any,
    ) -> None:
        """Compiles as `keras.Model.compile` does; `loss` must have a value for each sample."""
        outputs = self.output
        # Dictionaries are flattened by their sorted keys.
        names = sorted(outputs) if isinstance(outputs, dict) else self.output_names
        self._sample_losses = SampleLosses(loss, loss_weights, names)
        super().compile(optimizer=optimizer, loss=loss, loss_weights=loss_weights, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a loaded model. Keras leaves that to a class with its own `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the loss of a batch, weighted if `training`."""
        if training and (self.gradient_noise or self.discard_small_loss):
            batch = ops.shape(keras.tree.flatten(y_pred)[0])[0]
            weight = ops.ones((batch,), "float32")
            values = self._sample_losses.values(y, y_pred)
            if self.discard_small_loss:
                losses = self._sample_losses.of_samples(values, sample_weight)
                weight = self._kept_weight(ops.stop_gradient(losses), batch)
            if self.gradient_noise:
                weight = weight * self.noise.draw(batch)
            weights = self._sample_losses.weights(values, sample_weight, weight)
            sample_weight = keras.tree.pack_sequence_as(y_pred, weights)
        return super().compute_loss(x, y, y_pred, sample_weight, training=training)

    def _kept_weight(self, losses: Tensor, batch: Tensor) -> Tensor:
        """Returns for each sample 0, or the batch size over the number of samples kept."""
        if isinstance(batch, int):
            discarded = math.floor(self.discard_small_loss * batch)
            factor = batch / (batch - discarded)
        else:
            samples = ops.cast(batch, "float32")
            # The product of 0.3 and 10 is a little less than 3 in float32, and its floor is 2.
            discarded = ops.floor(self.discard_small_loss * samples * (1 + 1e-6))
            factor = samples / (samples - discarded)
        rank = ops.argsort(ops.argsort(losses))
        kept = ops.cast(rank, "float32") >= discarded
        weight = ops.where(kept, factor, 0.0)
        if self.discard_updates is None:
            return weight
        steps = self.discard_updates * steps_an_update(self.optimizer)
        discards = self.training_steps < steps
        self.training_steps.assign_add(1)
        return ops.where(discards, weight, ops.ones_like(weight))

    def get_config(self) -> dict[str, Any]:
        """Returns the config of a plain functional model with the layers, and the arguments."""
        functional = keras.Model(self.input, self.output, name=self.name)
        return {
            "model": keras.saving.serialize_keras_object(functional),
            "gradient_noise": self.gradient_noise,
            "discard_small_loss": self.discard_small_loss,
            "discard_updates": self.discard_updates,
            "seed": self.seed,
            "name": self.name,
            "trainable": self.trainable,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Returns the model that `get_config` described."""
        config = dict(config)
        functional = keras.saving.deserialize_keras_object(
            config.pop("model"), custom_objects=custom_objects
        )
        return cls(functional.input, functional.output, **config)


def _single(tensors: Tensor) -> Tensor:
    """Unwraps a list of one tensor, such as `model.inputs`, so that `fit` takes an array."""
    return tensors[0] if isinstance(tensors, list | tuple) and len(tensors) == 1 else tensors
