"""What two kernels compute on TPU, with all derivatives. The second one computes the gradient.

Derivatives of higher orders are those of a formula, and so is all of it on other platforms.
`jax.custom_vjp` would do for gradients, and refuse forward mode. So this is a `jax.custom_jvp`,
whose linear map along tangents is a primitive with a transpose of its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.lax import platform_dependent

from keras_bigbatch._typing import Tensor

Kernel = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def with_derivatives(forward: Kernel, backward: Kernel, formula: Kernel) -> Kernel:
    """`formula`, on TPU by `forward` and `backward`; differentiable forward and in reverse.

    A program is lowered for one platform, which may be the host's CPU beside a TPU.

    Args:
        forward: Of x, gamma and beta: the output and two arrays more, which are constants to
            whoever differentiates.
        backward: Of the output's gradient, x and gamma: the gradients to x, gamma and beta.
        formula: As `forward`, by operations that JAX differentiates. It is linear in beta.
    """

    def gradient_by_formula(dy: Tensor, x: Tensor, gamma: Tensor) -> tuple[Tensor, ...]:
        def output(*values: Tensor) -> Tensor:
            return formula(*values)[0]

        gradients: tuple[Tensor, ...] = jax.vjp(output, x, gamma, jnp.zeros_like(gamma))[1](dy)
        return gradients

    gradient = jax.custom_jvp(
        partial(platform_dependent, tpu=backward, default=gradient_by_formula)
    )
    normalize = jax.custom_jvp(partial(platform_dependent, tpu=forward, default=formula))

    @gradient.defjvp
    def _second(primals: Any, tangents: Any) -> Any:
        return gradient(*primals), jax.jvp(gradient_by_formula, primals, tangents)[1]

    @normalize.defjvp
    def _first(primals: Any, tangents: Any) -> Any:
        output, *constants = normalize(*primals)
        x, gamma, _ = primals
        moved = _along_p.bind(x, gamma, *tangents, formula=formula, gradient=gradient)
        return (output, *constants), (moved, *map(jnp.zeros_like, constants))

    return normalize


def _along(x: Tensor, gamma: Tensor, *tangents: Tensor, formula: Kernel, gradient: Any) -> Tensor:  # noqa: ARG001
    """The output's change along tangents of x, gamma and beta, in which it is linear."""
    return jax.jvp(formula, (x, gamma, jnp.zeros_like(gamma)), tangents)[1][0]


def _jvp(primals: Any, tangents: Any, **rules: Any) -> Any:
    tangents = tuple(ad.instantiate_zeros(tangent) for tangent in tangents)
    return jax.jvp(lambda *values: _along(*values, **rules), primals, tangents)


def _batch(values: Any, axes: Any, **rules: Any) -> Any:
    return jax.vmap(lambda *each: _along(*each, **rules), axes)(*values), 0


def _transpose(dy: Any, x: Any, gamma: Any, *tangents: Any, formula: Any, gradient: Any) -> Any:  # noqa: ARG001
    if isinstance(dy, ad.Zero):
        return [None] * 5
    wanted = [ad.is_undefined_primal(tangent) for tangent in tangents]
    gradients = zip(gradient(dy, x, gamma), wanted, strict=True)
    return [None, None, *(value if needed else None for value, needed in gradients)]


_along_p = Primitive("ghost_norm_along")
_along_p.def_impl(jax.jit(_along, static_argnames=("formula", "gradient")))
_along_p.def_abstract_eval(lambda x, *_, **__: jax.core.ShapedArray(x.shape, x.dtype))
mlir.register_lowering(_along_p, mlir.lower_fun(_along, multiple_results=False))
ad.primitive_jvps[_along_p] = _jvp
ad.primitive_transposes[_along_p] = _transpose
batching.primitive_batchers[_along_p] = _batch
