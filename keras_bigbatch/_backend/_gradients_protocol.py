"""What every backend has for derivatives and the training step, a part of `_protocol`."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar

import keras

from keras_bigbatch._typing import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class Gradients(Protocol):
    """Derivatives of pure functions. Should Keras get a `grad`, the modules shrink to it.

    Where a function does not depend on a value, its gradient is zero.
    """

    def compiled(self, function: F, model: keras.Model, *, draws_anew: bool = False) -> F:
        """The function compiled as the model is, made once and called often.

        What is drawn from a global random state is the same in every call, unless `draws_anew`.
        """

    def trace(self, function: Callable[..., object], *arguments: object) -> None:
        """Runs through the function once, for what Python does and raises on the way."""

    def value_and_gradient(
        self, function: Callable[..., Tensor]
    ) -> Callable[..., tuple[Tensor, list[Tensor]]]:
        """Of `function(values, *rest) -> scalar`, whose `values` are a list of tensors.

        Returns:
            A function with the same arguments, of the scalar and the list of gradients.
        """

    def gradient_and_results(
        self, function: Callable[..., tuple[Tensor, Any]]
    ) -> Callable[..., tuple[Any, list[Tensor]]]:
        """Of `function(values, *rest) -> (scalar, results)`, results a structure of tensors.

        Returns:
            A function with the same arguments, of the results and the list of gradients.
        """

    def hessian_vector_product(
        self, function: Callable[..., Tensor]
    ) -> Callable[..., list[Tensor]]:
        """A function of `(values, vector, *rest)`: the Hessian's product with the list `vector`."""

    def check_differentiable(self, model: keras.Model) -> None:
        """Raises `ValueError` for a model whose layers hide weights from Keras."""

    def random_state_kept(self) -> AbstractContextManager[None]:
        """A context that leaves the backend's global random state as it was."""


class Step(NamedTuple):
    """What a training step needs of the gradients that it takes, whichever they are.

    `loss` is the one to report, and `y_pred` what the metrics see. `gradient` is that of the
    scaled loss, a tensor for each trainable variable. `state` has the new values of the other
    variables, None for each that was not assigned.
    """

    loss: Tensor
    y_pred: Any
    gradient: list[Tensor]
    state: list[Tensor | None]


# A pure function of the variables that are no weights, the values of the weights and of these, what
# the optimizer multiplies a loss by, and the batch (x, y, sample_weight).
StepFunction: TypeAlias = Callable[
    [Sequence[keras.Variable], list[Tensor], list[Tensor], Tensor, Any], Step
]


class Training(Protocol):
    """The training step of `fit`."""

    def train_step(self, model: keras.Model, step: StepFunction, *arguments: Any) -> Any:
        """Keras's `train_step` with other gradients.

        Args:
            model: A compiled model.
            step: Takes the gradients.
            *arguments: What the backend's `fit` gives to `train_step`.

        Returns:
            What `train_step` returns on the backend.
        """
