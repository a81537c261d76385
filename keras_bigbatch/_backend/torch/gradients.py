"""Derivatives of pure functions on PyTorch."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import keras
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from keras_bigbatch._backend._gradients_protocol import F
from keras_bigbatch._backend.reference.gradients import with_value_as_result
from keras_bigbatch._private_api import flatten_layers
from keras_bigbatch._private_step import mask_of, set_mask
from keras_bigbatch._typing import Tensor


def compiled(function: F, model: keras.Model, *, draws_anew: bool = False) -> F:  # noqa: ARG001
    """Eager, as Keras is on torch, whose compiler has no double backward."""

    def detached(*arguments: object) -> object:
        # Derivatives ask for gradients themselves; everything else needs no graph.
        # Dropout without a seed draws from the global state.
        state = contextlib.nullcontext() if draws_anew else random_state_kept()
        with state, torch.no_grad():
            return function(*arguments)

    return cast(F, detached)


@torch.no_grad()
def trace(function: Callable[..., object], *arguments: object) -> None:
    """A call without a graph."""
    function(*arguments)


def value_and_gradient(
    function: Callable[..., Tensor],
) -> Callable[..., tuple[Tensor, list[Tensor]]]:
    """By `gradient_and_results`, of which the value is the result."""
    return gradient_and_results(with_value_as_result(function))


def gradient_and_results(
    function: Callable[..., tuple[Tensor, Any]],
) -> Callable[..., tuple[Any, list[Tensor]]]:
    """By autograd."""

    def both(values: Sequence[Tensor], *rest: object) -> tuple[Any, list[Tensor]]:
        with torch.enable_grad():
            inputs = _inputs(values)
            value, results = function(inputs, *rest)
            gradients = _gradients(value, inputs)
        return keras.tree.map_structure(_without_graph, results), gradients

    return both


def _without_graph(result: Any) -> Any:
    if not isinstance(result, torch.Tensor):
        return result
    return set_mask(result.detach(), mask_of(result))


def hessian_vector_product(function: Callable[..., Tensor]) -> Callable[..., list[Tensor]]:
    """The gradient of `gradient . vector`, reverse over reverse."""

    def product(values: Sequence[Tensor], vector: Sequence[Tensor], *rest: object) -> list[Tensor]:
        # The fused kernels of attention have no second derivative.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            inputs = _inputs(values)
            gradients = _gradients(function(inputs, *rest), inputs, create_graph=True)
            pairs = zip(gradients, vector, strict=True)
            slope = torch.stack([torch.sum(g * v) for g, v in pairs]).sum()
            return _gradients(slope, inputs)

    return product


def _inputs(values: Sequence[Tensor]) -> list[Tensor]:
    """Leaves of a graph of their own; the memory is shared, and nothing writes to it."""
    return [value.detach().requires_grad_() for value in values]


def _gradients(value: Tensor, inputs: list[Tensor], create_graph: bool = False) -> list[Tensor]:
    if not value.requires_grad:  # a constant, as the gradient of a linear function is
        return [torch.zeros_like(each) for each in inputs]
    return list(
        torch.autograd.grad(
            value, inputs, create_graph=create_graph, allow_unused=True, materialize_grads=True
        )
    )


def check_differentiable(model: keras.Model) -> None:
    """Raises for a torch module in a Keras layer: it reads its parameters past Keras."""
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.TorchModuleWrapper):
            raise ValueError(
                f"The layer {layer.name!r} is a `TorchModuleWrapper`, whose weights can only be "
                "changed in place, but a measurement changes no model. Use Keras layers instead."
            )


@contextlib.contextmanager
def random_state_kept() -> Iterator[None]:
    """A `DataLoader` draws a seed from torch's global state, even if it does not shuffle.

    So does Dropout without a seed.
    """
    initialized = torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if initialized else ()
    with torch.random.fork_rng(devices=devices):
        yield
