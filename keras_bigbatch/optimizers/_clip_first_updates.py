"""Gradient clipping for the first updates of a training."""

from collections.abc import Sequence
from typing import Any, Self

import keras
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._arguments import positive_integer, positive_number
from keras_bigbatch._private_api import replace_clipping
from keras_bigbatch._rates.learning_rates import OptimizerLearningRate
from keras_bigbatch._serialization import serializable
from keras_bigbatch._typing import Tensor
from keras_bigbatch._updates import inner_optimizer


@serializable
class ClipFirstUpdates(keras.optimizers.Optimizer):
    """Clips the global norm of the gradients in the first `updates` optimizer updates only.

    Use it if a large batch at a scaled learning rate diverges at the start, and clipping in all
    updates would slow down training later. It wraps any Keras optimizer and behaves like it, except
    that in updates 0 to `updates - 1`, the gradients of all variables are multiplied by

        min(1, global_clipnorm / norm)

    It clips the gradient of an *update*: after a `LossScaleOptimizer` has unscaled it, and after
    `gradient_accumulation_steps` micro-steps have been averaged, as with Keras's own
    `global_clipnorm`. Updates that a `LossScaleOptimizer` skips do not count. If the wrapped
    optimizer also clips, it does so afterwards. If the norm is not finite, neither are the clipped
    gradients. Under TensorFlow's strategies, each replica clips its own share of the gradient, as
    with Keras's `global_clipnorm`.

    It has no state: the wrapped optimizer counts the updates. `learning_rate`, `iterations`,
    `variables` and the state in a saved model are the wrapped optimizer's. Do not use the wrapped
    optimizer anywhere else. `ClipFirstUpdates` works the same inside and around a
    `LossScaleOptimizer`, including the one that `compile` adds under `mixed_float16`.

    The paper's code (bigBatch) clips every update at 5. The paper itself says "for the first few
    iterations" and gives no threshold.

    Args:
        optimizer: The `keras.optimizers.Optimizer` to wrap. It cannot be a `MultiOptimizer`, whose
            parts only see their own gradients. Wrap the parts instead.
        global_clipnorm: The largest norm of all gradients together.
        updates: The number of updates to clip; 0 for none.
        name: The name of the optimizer.

    Raises:
        ValueError: If an argument is invalid, or if the result is wrapped in a second
            `LossScaleOptimizer`.

    Example:

    ```python
    import keras, numpy as np
    import keras_bigbatch as kbb

    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = kbb.optimizers.ClipFirstUpdates(sgd, global_clipnorm=1.0, updates=100)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    model.fit(np.random.rand(512, 8), np.random.rand(512), batch_size=256, verbose=0)
    ```

    References:
        - [Hoffer et al., 2017](https://arxiv.org/abs/1705.08741), sections 4 and 7, footnote 9
    """

    def __new__(cls, optimizer: Any = None, *_: Any, **__: Any) -> Any:
        # Under mixed_float16, `compile` wraps all but a `LossScaleOptimizer` in one.
        if cls is ClipFirstUpdates and isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            cls = _ClipFirstUpdatesOfScaledLoss
        return super().__new__(cls)

    def __init__(
        self,
        optimizer: keras.optimizers.Optimizer,
        global_clipnorm: float = 5.0,
        updates: int = 1000,
        name: str = "clip_first_updates",
    ) -> None:
        norm = positive_number("global_clipnorm", global_clipnorm, "It bounds the global norm.")
        count = positive_integer(
            "updates", updates, "It counts optimizer updates.", zero_allowed=True
        )
        innermost = inner_optimizer(optimizer)
        if not isinstance(innermost, keras.optimizers.Optimizer) or hasattr(
            innermost, "optimizers"
        ):
            raise ValueError(
                "`optimizer` must be a Keras optimizer, but not a `MultiOptimizer`, whose parts "
                f"can be wrapped one by one. Received: optimizer={optimizer!r}."
            )
        # Not `super()`: next to a `LossScaleOptimizer` that would be the next class.
        keras.optimizers.Optimizer.__init__(
            self, learning_rate=0.0, global_clipnorm=norm, name=name
        )
        self.updates = count
        self.optimizer = optimizer
        self.gradient_accumulation_steps = innermost.gradient_accumulation_steps
        self._clip_further = replace_clipping(innermost, self._clip_first)

    def _clip_first(self, grads: Sequence[Tensor]) -> list[Tensor]:
        grads = [_backend.active().optimizer.dense(gradient) for gradient in grads]
        first = ops.less(self.iterations, self.updates)
        grads = _backend.active().optimizer.clip_where(first, grads, self.global_clipnorm)
        return self._clip_further(grads)

    @property
    def inner_optimizer(self) -> keras.optimizers.Optimizer:
        """The wrapped optimizer. Callbacks look for its averaged weights under this name."""
        return getattr(self.optimizer, "inner_optimizer", self.optimizer)

    @property
    def variables(self) -> list[keras.Variable]:
        """The wrapped optimizer's variables."""
        return list(self.optimizer.variables)

    @property
    def iterations(self) -> keras.Variable | Tensor:
        """The wrapped optimizer's number of updates."""
        return self.optimizer.iterations

    @property
    def learning_rate(self) -> keras.Variable | Tensor:
        """The wrapped optimizer's learning rate, which can be set here."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: OptimizerLearningRate) -> None:
        self.optimizer.learning_rate = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        """The wrapped optimizer's loss scale factor."""
        return self.optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, factor: float | None) -> None:
        # Keras sets it in every optimizer's `__init__`, to None in one whose loss is scaled.
        if hasattr(self, "optimizer"):
            self.optimizer.loss_scale_factor = factor

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the wrapped optimizer's variables."""
        if not self.optimizer.built:
            self.optimizer.build(variables)
        self.built = True

    def apply(
        self, grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None
    ) -> None:
        """Updates the variables like the wrapped optimizer, after clipping in the first updates."""
        self.optimizer.apply(grads, trainable_variables)
        self.built = True

    def stateless_apply(
        self,
        optimizer_variables: Sequence[Tensor],
        grads: Sequence[Tensor],
        trainable_variables: Sequence[Tensor],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Does the same as `apply`, on values instead of variables."""
        return self.optimizer.stateless_apply(optimizer_variables, grads, trainable_variables)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Scales the loss as the wrapped optimizer does."""
        return self.optimizer.scale_loss(loss)

    def finalize_variable_values(self, var_list: Sequence[keras.Variable]) -> None:
        """Overwrites the weights with their averages if the wrapped optimizer averages them."""
        self.optimizer.finalize_variable_values(var_list)

    def set_weights(self, weights: Sequence[Tensor]) -> None:
        """Sets the wrapped optimizer's variables."""
        self.optimizer.set_weights(weights)

    # The wrapped optimizer saves its own.
    def save_own_variables(self, store: Any) -> None:
        """Saves nothing: there is no state of its own."""

    def load_own_variables(self, store: Any) -> None:
        """Loads nothing: there is no state of its own."""

    def get_config(self) -> dict[str, Any]:
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "global_clipnorm": self.global_clipnorm,
            "updates": self.updates,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        optimizer = keras.saving.deserialize_keras_object(
            config["optimizer"], custom_objects=custom_objects
        )
        return cls(**{**config, "optimizer": optimizer})


@serializable
class _ClipFirstUpdatesOfScaledLoss(ClipFirstUpdates, keras.optimizers.LossScaleOptimizer):
    """The class of a `ClipFirstUpdates` around a `LossScaleOptimizer`: Keras sees both."""

    @property
    def loss_scale_factor(self) -> float:
        # Not None: on TensorFlow, Keras does not set a factor that is there already.
        return 1.0

    @loss_scale_factor.setter
    def loss_scale_factor(self, _: Any) -> None:
        if hasattr(self, "optimizer"):
            raise ValueError(
                "The loss would be scaled twice: this `ClipFirstUpdates` already wraps a "
                "`LossScaleOptimizer`. Leave out the outer `LossScaleOptimizer`."
            )
