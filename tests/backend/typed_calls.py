"""Calls through `active()`, for mypy alone: nobody runs this.

`make lint` checks it in strict mode, which also refuses a `type: ignore` that nothing needs. So
each line that has one is a mistake that mypy finds, and the others are the control.
"""

from keras_bigbatch import _backend
from keras_bigbatch._backend import Backend, reference
from keras_bigbatch._backend._gradients_protocol import Gradients
from keras_bigbatch._backend._protocol import Weights
from keras_bigbatch._backend.jax import weights
from keras_bigbatch._typing import Tensor

found = _backend.active()


def right(x: Tensor) -> None:
    first: int = found.replicas.replicas()
    found.weights.restored(found.weights.snapshot([x]), [x])
    found.weights.WeightMeter(x, [x]).squared_distances([x])
    found.optimizer.clip_where(x, [x], 1.0)
    found.ghost_norm.ghost_normalize(x, None, None, first, 1, 1e-3)
    rooms: Weights = weights
    rooms.snapshot([])


def wrong(x: Tensor) -> None:
    found.restored([x], [x])  # type: ignore[attr-defined]
    found.weights.restord([x], [x])  # type: ignore[attr-defined]
    found.weights.restored([x], 7)  # type: ignore[arg-type]
    found.weights.restored([x], [x], "x")  # type: ignore[call-arg]
    found.weights.WeightMeter(x, [x]).distances([x])  # type: ignore[attr-defined]
    found.optimizer.clip_where(x)  # type: ignore[call-arg]
    found.ghost_norm.ghost_normalize(x, None, None, "8", 1, 1e-3)  # type: ignore[arg-type]
    name: str = found.replicas.replicas()  # type: ignore[assignment]
    found.gradients.trace(name)  # type: ignore[arg-type]


# Nor is a module a backend, or a part of one, that has not all of its functions.
no_backend: Backend = reference  # type: ignore[assignment]
no_gradients: Gradients = weights  # type: ignore[assignment]
