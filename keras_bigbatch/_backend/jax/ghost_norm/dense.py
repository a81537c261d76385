"""Feature vectors on TPU: which ones the kernel takes, on one core or on each core of a mesh."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import keras
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, PartitionSpec

from keras_bigbatch._backend._protocol import GhostMoments
from keras_bigbatch._backend.jax.ghost_norm import kernel, xla
from keras_bigbatch._backend.jax.ghost_norm.derivatives import with_derivatives
from keras_bigbatch._typing import Tensor

Normalizer = Callable[[Tensor, Tensor | None, Tensor | None], tuple[Tensor, GhostMoments]]


class _Norm(NamedTuple):
    """What a program is made for."""

    virtual_batch: int
    epsilon: float
    cut: kernel.Blocks
    mesh: Mesh | None
    axis: str | None


def fast_memory() -> int:
    """Bytes of a TPU core's fast memory; 0 where there is no TPU, or JAX is too old to say."""
    if jax.default_backend() != "tpu" or not hasattr(pltpu, "get_tpu_info"):
        return 0
    return int(pltpu.get_tpu_info().vmem_capacity_bytes)


def normalizer(x: Tensor, virtual_batch: int, epsilon: float) -> Normalizer | None:
    """Ghost batch norm of x, gamma and beta by the kernel; None if it does not take x.

    It takes what is on one core. On several it needs the mesh, and whole groups on each of them:
    XLA cannot divide a kernel, and would gather the batch on every core.
    """
    memory = fast_memory()
    if not memory or x.ndim != 2 or x.dtype not in (jnp.float32, jnp.bfloat16):
        return None
    batch, channels = x.shape
    if not isinstance(batch, int) or not batch or not channels:
        return None
    place = _mesh_and_axis(x)
    if place is None:
        return None
    mesh, axis = place
    if mesh is not None:
        if batch % (mesh.size * virtual_batch):
            return None
        batch //= mesh.size
    cut = kernel.blocks(batch, channels, virtual_batch, memory)
    return cut and partial(_normalized, _Norm(virtual_batch, epsilon, cut, mesh, axis))


def _mesh_and_axis(x: Tensor) -> tuple[Mesh | None, str | None] | None:
    """The mesh that divides the batch, none on one core; None if it is not known."""
    here = jax.sharding.get_abstract_mesh()
    if here.manual_axes:
        # With JAX's check of what varies over a mesh, the kernel's results would have to say so.
        kind = getattr(jax.typeof(x), "manual_axis_type", None)
        unchecked = kind is not None and not kind.varying
        return (None, None) if unchecked and set(here.manual_axes) == set(here.axis_names) else None
    distribution = keras.distribution.distribution()
    if distribution is None:
        return (None, None) if jax.device_count() == 1 else None
    mesh, axis = distribution.device_mesh.backend_mesh, distribution.batch_dim_name
    if mesh.size == 1:
        return None, None
    return (mesh, axis) if mesh.shape.get(axis) == mesh.size else None


def _normalized(
    norm: _Norm, x: Tensor, gamma: Tensor | None, beta: Tensor | None
) -> tuple[Tensor, GhostMoments]:
    channels = x.shape[1:]
    gamma = jnp.ones(channels, jnp.float32) if gamma is None else gamma
    beta = jnp.zeros(channels, jnp.float32) if beta is None else beta
    outputs, mean, variance = _program(norm)(x, gamma, beta)
    count = xla.Groups(x, norm.virtual_batch, axis=1).sizes("float32")
    return outputs, GhostMoments(count, mean, variance)


@lru_cache
def _program(norm: _Norm) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Of x, gamma and beta: the output in x's type, and the groups' means and variances."""
    virtual_batch, epsilon, cut, mesh, axis = norm

    def formula(x: Tensor, gamma: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs, moments = xla.ghost_normalize(x, gamma, beta, virtual_batch, 1, epsilon)
        return outputs.astype(x.dtype), moments.mean, moments.variance

    options: Any = {"virtual_batch": virtual_batch, "epsilon": epsilon, "cut": cut}
    forward, backward = (partial(each, **options) for each in (kernel.forward, kernel.backward))
    normalize = with_derivatives(forward, backward, formula)
    if mesh is None:
        return normalize
    samples, channels = PartitionSpec(axis), PartitionSpec()
    return jax.shard_map(
        normalize,
        mesh=mesh,
        in_specs=(samples, channels, channels),
        out_specs=(samples, samples, samples),
        check_vma=False,
    )
