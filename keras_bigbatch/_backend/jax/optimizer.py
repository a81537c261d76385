"""What layer-wise optimizers compute from a whole tensor, on JAX: medians without a sort."""

from functools import partial

import jax
import jax.numpy as jnp
import keras
import numpy as np
from jax import lax
from jax.experimental.sparse import JAXSparse

from keras_bigbatch._backend.reference.optimizer import clip_where as clip_where
from keras_bigbatch._backend.reference.optimizer import momentum_step as momentum_step
from keras_bigbatch._backend.reference.optimizer import norm as norm
from keras_bigbatch._backend.reference.optimizer import squared_norm as squared_norm
from keras_bigbatch._backend.reference.optimizer import update_together as update_together
from keras_bigbatch._backend.reference.optimizer import usable_factor as usable_factor
from keras_bigbatch._typing import Tensor

at_once = jax.ensure_compile_time_eval


def dense(gradient: Tensor) -> Tensor:
    """The gradient as a plain array."""
    return gradient.todense() if isinstance(gradient, JAXSparse) else gradient


def all_zero(variable: keras.Variable) -> bool:
    """By NumPy on a CPU, where a look at each value costs less than to compile one."""
    value = variable.value
    if isinstance(value, jax.core.Tracer):
        return False
    on_cpu = all(device.platform == "cpu" for device in value.devices())
    look = np.asarray if on_cpu else jnp.asarray
    # Of an array that is spread over processes, each sees its own part.
    return not any(bool(look(shard.data).any()) for shard in value.addressable_shards)


# A loop outside of a program is compiled at each call, unless it is a program of its own.
@partial(jax.jit, inline=True)
def median_magnitude(tensor: Tensor) -> Tensor:
    """Two bits at a time: 16 passes for the lower middle value, one for the other.

    Each pass is a sum, so split weights stay split; a sort would gather them on every device.
    """
    width = jnp.finfo(tensor.dtype).bits
    integer = jnp.dtype(f"int{width}").type
    largest, zero = integer(jnp.iinfo(integer).max), jnp.int32(0)
    # Integers are in the order of the magnitudes that have the same bits; NaN is above infinity.
    magnitudes = lax.bitcast_convert_type(tensor, integer) & largest
    axes = tuple(range(tensor.ndim))
    middle = (tensor.size + 1) // 2

    def two_bits(step: Tensor, lower: Tensor) -> Tensor:
        # The last bit has no partner: it is taken with the one before, which is known.
        unit = integer(1) << jnp.maximum(width - 3 - 2 * step, 0).astype(integer)
        # XLA makes vector code of several sums in one reduction, but not of one sum.
        counts = lax.reduce(
            tuple((magnitudes < lower + digit * unit).astype("int32") for digit in (1, 2, 3)),
            (zero, zero, zero),
            lambda sums, terms: tuple(a + b for a, b in zip(sums, terms, strict=True)),
            axes,
        )
        return lower + unit * sum((count < middle).astype(integer) for count in counts)

    lower = lax.fori_loop(0, width // 2, two_bits, integer(0))
    up_to, above, top = lax.reduce(
        (
            (magnitudes <= lower).astype("int32"),
            jnp.where(magnitudes > lower, magnitudes, largest),
            magnitudes,
        ),
        (zero, largest, integer(0)),
        lambda a, b: (a[0] + b[0], jnp.minimum(a[1], b[1]), jnp.maximum(a[2], b[2])),
        axes,
    )
    upper = jnp.where(up_to > tensor.size // 2, lower, above)
    lower, upper, top = (
        lax.bitcast_convert_type(each, tensor.dtype) for each in (lower, upper, top)
    )
    return jnp.where(jnp.isnan(top), top, (lower + upper) / 2)
