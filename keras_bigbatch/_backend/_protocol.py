"""The contracts of the six modules of a backend, which document only what is special to each.

Those of `gradients` and `training` are in `_gradients_protocol`.
"""

from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import numpy.typing as npt

from keras_bigbatch._backend._gradients_protocol import Gradients, Training
from keras_bigbatch._typing import Tensor

Variables = Sequence[keras.Variable]


class GhostMoments(NamedTuple):
    """Moments of each group: `count` [G, 1] of its elements a channel, the others [G, C].

    Under a mask that tells channels apart, `count` is [G, C] too.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor


class GhostNorm(Protocol):
    """Ghost batch norm."""

    def ghost_normalize(
        self,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        virtual_batch: int,
        axis: int,
        epsilon: float,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, GhostMoments]:
        """Normalizes each group by its own moments.

        Args:
            x: Input, the batch on axis 0.
            gamma: Scale, [C] in the precision of the statistics, or None.
            beta: Offset, likewise.
            virtual_batch: Samples in a group; the tail joins the last.
            axis: The channels' axis, positive.
            epsilon: Added to the variance inside the root.
            mask: Boolean, of x's shape, or 1 along `axis`; False leaves a position out.

        Returns:
            The output and the groups' moments, in the precision of the statistics or, for the
            output, in x's own. Not to be differentiated are the moments: some forms hold them
            constant.
        """

    def moved_by_kernel(
        self, old: tuple[Tensor, Tensor], moments: GhostMoments, momentum: float, statistics: str
    ) -> tuple[Tensor, Tensor] | None:
        """The moving mean and variance after a step of one device; None without a kernel."""

    def python_is_compiled(self) -> bool:
        """Whether a compiler reads the Python code, which then can neither warn nor remember."""

    def traced_once(self, function: Callable[..., Any], *tensors: Any, **options: Hashable) -> Any:
        """`function(*tensors, **options)`; where tracing is slow, from a trace of a call like it.

        Calls are alike whose function and options are equal, and whose tensors, in named tuples or
        not, are of the same shapes and types. So the function must use no other tensor or variable,
        and ask nothing of other replicas. It is a constant to whoever differentiates.
        """


class MomentumOptimizer(Protocol):
    """What the steps below need to know of a `LayerwiseOptimizer`."""

    momentum: float
    nesterov: bool
    rate_in_momentum: bool

    def _velocity_and_ratio(
        self, variable: keras.Variable
    ) -> tuple[keras.Variable | None, keras.Variable | None]: ...
    def _factor(
        self, variable: keras.Variable, weight: Tensor, gradient: Tensor
    ) -> tuple[Tensor, Tensor, float]: ...
    def _keeps(self, *methods: str) -> bool: ...
    def assign(self, variable: keras.Variable, value: Tensor) -> None: ...
    def assign_add(self, variable: keras.Variable, value: Tensor) -> None: ...


class Optimizer(Protocol):
    """What layer-wise optimizers need of a whole tensor.

    Squares are summed in float32 or wider, whatever the tensor's type is.
    """

    def dense(self, gradient: Tensor) -> Tensor:
        """The gradient as a plain tensor; embeddings may have forms of their own."""

    def at_once(self) -> AbstractContextManager[None]:
        """A context for computing with values that are there, even while a step is traced."""

    def all_zero(self, variable: keras.Variable) -> bool:
        """Whether all values are zero, in that context; False where they cannot be read."""

    def squared_norm(self, tensor: Tensor) -> Tensor:
        """The sum of all squares, a scalar on the tensor's device."""

    def norm(self, tensor: Tensor) -> Tensor:
        """The root of the sum of all squares."""

    def median_magnitude(self, tensor: Tensor) -> Tensor:
        """The median of all absolute values; of two in the middle their mean. NaN if one is."""

    def usable_factor(self, ratio: Tensor, coefficient: float) -> Tensor:
        """`coefficient * ratio`, or 1 where the ratio is not positive and finite."""

    def clip_where(
        self, condition: Tensor, gradients: Sequence[Tensor], global_clipnorm: float
    ) -> list[Tensor]:
        """Clips the global norm if the condition holds. The norm is computed only then."""

    def momentum_step(
        self,
        optimizer: MomentumOptimizer,
        variable: keras.Variable,
        velocity: keras.Variable | None,
        factor: Tensor,
        rate: Tensor,
        update: Tensor,
    ) -> None:
        """One variable's step along `factor * update`, with momentum.

        The velocity is None without momentum, the factor a scalar or a tensor like the weight; the
        rate, and the update with the decay in it, are in the step's precision.
        """

    def update_together(
        self,
        optimizer: MomentumOptimizer,
        gradients: Sequence[Tensor],
        variables: Variables,
        learning_rate: Tensor,
    ) -> bool:
        """Makes the whole update, or returns False: one variable at a time will do.

        The arithmetic is that of `LayerwiseOptimizer.update_step`.
        """


class Replicas(Protocol):
    """The devices or processes that run one step on parts of a batch."""

    def replicas(self) -> int:
        """How many run this step on parts of one batch; 1 outside such a step."""

    def parts_of_a_batch(self, model: keras.Model | None) -> int:
        """Into how many parts a batch of `fit` is divided, outside a step; 1 on one device.

        Without a model, those of the present scope.
        """

    def processes(self) -> int:
        """How many processes train together, each with its own program and data."""

    def rank_and_count(self) -> tuple[Tensor, int]:
        """This replica's index and the number of replicas that draw the same random numbers."""

    def gather_rows(self, row: Tensor) -> Tensor:
        """The replicas' rows in their order: [n] to [replicas, n], the same on each of them."""

    def on_all_devices(self, tensor: Tensor) -> Tensor:
        """A small tensor, whole on every device."""

    def shared_out(self, batch: Tensor) -> Tensor:
        """The batch, each device with its part, if one program runs on all of them."""

    def average_variables(self, variables: Variables) -> None:
        """Gives each variable the mean of the replicas' own values, outside a step."""


class Meter(Protocol):
    """How far a model's variables are from a reference, and after how many updates."""

    @property
    def steps_an_update(self) -> int:
        """The optimizer's `gradient_accumulation_steps`, or 1."""

    def updates(self) -> int:
        """Updates made, which under accumulation or skipped steps are fewer than steps."""

    def squared_distances(self, references: Sequence[Tensor]) -> npt.NDArray[np.float64]:
        """The sum of squared differences of each variable, in one copy to the host."""


class Weights(Protocol):
    """A model's weights: copies of them, and their distance from a reference."""

    def snapshot(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copies on the same devices, which do not follow the originals."""

    def restored(self, arrays: Sequence[npt.NDArray[Any]], like: Sequence[Tensor]) -> list[Tensor]:
        """The arrays as tensors with the types and places of `like`."""

    def WeightMeter(self, model: keras.Model, variables: Variables) -> Meter:  # noqa: N802
        """A meter of some of a compiled model's variables."""


class Backend(Protocol):
    """A backend's package."""

    # Properties, so that a module may be the more special one.
    @property
    def ghost_norm(self) -> GhostNorm: ...
    @property
    def gradients(self) -> Gradients: ...
    @property
    def optimizer(self) -> Optimizer: ...
    @property
    def replicas(self) -> Replicas: ...
    @property
    def training(self) -> Training: ...
    @property
    def weights(self) -> Weights: ...
