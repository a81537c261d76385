"""The kernels for feature vectors on TPU, by Pallas's interpreter, against what XLA fuses."""

from functools import partial

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("the kernels are JAX's", allow_module_level=True)

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import Mesh, PartitionSpec

from keras_bigbatch._backend.jax import ghost_norm
from keras_bigbatch._backend.jax.ghost_norm import dense, kernel, xla
from tests.tpu_interpreter import as_on_tpu

if not hasattr(pltpu, "get_tpu_info"):
    pytest.skip("this JAX is too old for the kernels", allow_module_level=True)

EPSILON = 1e-3
MEMORY = 2**27
# Rows, channels, the size of a group, and the numbers that a block is made for: one block and
# several, with rows or columns to spare; tails, in a block with others and one by itself; groups
# that no tile divides; one group alone; channels in blocks.
CASES = [
    (64, 24, 8, 2**18),
    (256, 256, 32, 2**13),
    (200, 128, 32, 2**13),
    (77, 100, 7, 2**18),
    (250, 130, 7, 2**11),
    (500, 128, 20, 2**13),
    (157, 128, 16, 2**12),
    (260, 300, 300, 2**18),
    (18, 6, 1, 2**18),
]


@pytest.fixture
def interpreted(monkeypatch):
    """A function that sets the numbers of a block."""
    as_on_tpu(monkeypatch)
    with pltpu.force_tpu_interpret_mode():
        yield lambda numbers: monkeypatch.setattr(kernel, "_NUMBERS", numbers)


def values(rows, channels, dtype="float32"):
    rng = np.random.default_rng(rows)
    x, dy = (jnp.asarray(rng.normal(size=(rows, channels)), dtype) for _ in range(2))
    gamma, beta = (jnp.asarray(rng.normal(size=channels), "float32") for _ in range(2))
    return 2 * x + 3, gamma, beta, dy


def with_gradients(normalize, x, gamma, beta, dy, size):
    """The output, the moments, and the gradients to all three."""

    def run(*inputs):
        return normalize(*inputs, size, 1, EPSILON)

    def step(*inputs):
        y, pull, moments = jax.vjp(run, *inputs, has_aux=True)
        return y, moments, pull(dy.astype(y.dtype))

    return jax.tree.leaves(jax.jit(step)(x, gamma, beta))


HALF = [(*case, "bfloat16") for case in CASES[:5]]


@pytest.mark.parametrize(
    ("rows", "channels", "size", "numbers", "dtype"),
    [*((*case, "float32") for case in CASES), *HALF],
)
def test_values_and_gradients(interpreted, rows, channels, size, numbers, dtype):
    interpreted(numbers)
    inputs = values(rows, channels, dtype)
    assert dense.normalizer(inputs[0], size, EPSILON) is not None
    actual = with_gradients(ghost_norm.ghost_normalize, *inputs, size)
    wanted = with_gradients(xla.ghost_normalize, *inputs, size)
    for one, other in zip(actual, wanted, strict=True):
        half = one.dtype == jnp.bfloat16
        scale = float(jnp.abs(other).max())
        difference = jnp.abs(one.astype("float32") - other.astype("float32")).max()
        assert float(difference) <= (2.0**-8 if half else 3e-6) * scale


def derivatives(normalize, x, gamma, beta, dy, v, size):
    """Second derivatives in every order of modes, forward mode, and over several inputs at once."""

    def output(x):
        return normalize(x, gamma, beta, size, 1, EPSILON)[0]

    def loss(x):
        return jnp.sum(jnp.sin(output(x)) * dy)

    def slope(x):
        return jax.jvp(loss, (x,), (v,))[1]

    several = jnp.stack([x, 2 * x + v])
    return {
        "forward": jax.jvp(output, (x,), (v,))[1],
        "forward over reverse": jax.jvp(jax.grad(loss), (x,), (v,))[1],
        "reverse over reverse": jax.grad(lambda x: jnp.sum(jax.grad(loss)(x) * v))(x),
        "reverse over forward": jax.grad(slope)(x),
        "forward over forward": jax.jvp(slope, (x,), (v,))[1],
        "vmap": jax.vmap(output)(several),
        "vmap of gradients": jax.vmap(jax.grad(loss))(several),
        "gradient of vmap": jax.grad(lambda each: jnp.sum(jax.vmap(loss)(each)))(several),
        "checkpoint": jax.grad(jax.checkpoint(loss))(x),
    }


@pytest.fixture
def interpreted_simply(monkeypatch):
    """By the interpreter that is made of JAX's own operations: the other knows no `vmap`."""
    as_on_tpu(monkeypatch)
    monkeypatch.setattr(pl, "pallas_call", partial(pl.pallas_call, interpret=True))
    monkeypatch.setattr(kernel, "_NUMBERS", 2**12)


@pytest.mark.usefixtures("interpreted_simply")
def test_all_derivatives():
    *inputs, dy = values(20, 4)
    v = jnp.asarray(np.random.default_rng(1).normal(size=dy.shape), "float32")
    actual = jax.jit(partial(derivatives, ghost_norm.ghost_normalize, size=8))(*inputs, dy, v)
    wanted = jax.jit(partial(derivatives, xla.ghost_normalize, size=8))(*inputs, dy, v)
    for name, value in wanted.items():
        scale = float(jnp.abs(value).max())
        assert float(jnp.abs(actual[name] - value).max()) <= 1e-5 * scale, name


@pytest.mark.usefixtures("interpreted_simply")
def test_derivative_of_the_gradient_to_gamma():
    x, gamma, beta, dy = values(64, 24)

    def penalty(normalize, gamma):
        run = jax.grad(lambda g: jnp.sum(normalize(x, g, beta, 16, 1, EPSILON)[0] ** 3 * dy))
        return jnp.sum(run(gamma) ** 2)

    actual, wanted = (
        jax.jit(jax.grad(partial(penalty, f)))(gamma)
        for f in (ghost_norm.ghost_normalize, xla.ghost_normalize)
    )
    np.testing.assert_allclose(actual, wanted, rtol=1e-4)


@pytest.mark.parametrize("value", [0.1, 1e-30, 1e30, -12345.678])
def test_a_constant_feature_gives_beta(interpreted, value):
    interpreted(2**18)
    _, gamma, beta, _ = values(100, 24)
    x = jnp.full((100, 24), value, "float32")
    y, moments = ghost_norm.ghost_normalize(x, gamma, beta, 7, 1, EPSILON)
    np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))
    np.testing.assert_array_equal(moments.mean, np.full((14, 24), value, "float32"))
    np.testing.assert_array_equal(moments.variance, np.zeros((14, 24)))


def test_what_is_not_finite_stays_in_its_group(interpreted):
    interpreted(2**18)
    x, gamma, beta, _ = values(64, 24)
    x = x.at[3, 0].set(jnp.inf).at[40, 1].set(1e30)
    y, _ = ghost_norm.ghost_normalize(x, gamma, beta, 16, 1, EPSILON)
    broken = np.zeros((4, 16, 24), bool)
    broken[0, :, 0] = broken[2, :, 1] = True
    np.testing.assert_array_equal(np.isnan(y), broken.reshape(64, 24))


# --- the blocks


BATCHES = [1, 17, 500, 4096, 65536, 65535, 60000]


@pytest.mark.parametrize("channels", [1, 100, 256, 1000, 4096])
@pytest.mark.parametrize("size", [1, 3, 7, 8, 20, 32, 100, 1000, 4096])
def test_each_group_lies_in_one_block(size, channels):
    for batch in BATCHES:
        cut = kernel.blocks(batch, channels, size, MEMORY)
        if cut is None:
            # Groups that fill whole tiles only together, and are too large for that.
            assert min(batch, size * 16) * 128 * 64 > MEMORY
            continue
        total = max(batch // size, 1)
        assert cut.groups * (cut.number - 1) < total <= cut.groups * cut.number
        every, last = kernel._slices(batch, size, cut)
        rows = [*every * (cut.number - 1), *last]
        assert sum(each.stop - each.start for each in rows) == batch
        assert all(each.stop - each.start == size for each in rows[:-1])
        assert last[-1].stop <= cut.rows
        assert cut.number == 1 or cut.rows % 16 == 0
        assert cut.width == channels or cut.width % 128 == 0
        assert cut.rows * cut.width * 48 <= MEMORY * 3 // 4


# --- what the kernels do not take


def taken(x, size=8):
    return dense.normalizer(x, size, EPSILON) is not None


def test_without_a_tpu_there_is_no_kernel():
    assert not taken(jnp.ones((64, 24)))


def test_only_feature_vectors_in_two_precisions(monkeypatch):
    as_on_tpu(monkeypatch)
    assert taken(jnp.ones((64, 24)))
    assert taken(jnp.ones((64, 24), "bfloat16"))
    for x in (jnp.ones((64, 24), "float16"), jnp.ones((64, 3, 24)), jnp.ones((0, 24))):
        assert not taken(x)
    assert taken(jnp.ones((16384, 2)), 16384)
    assert not taken(jnp.ones((16400, 2)), 16400)


def test_several_devices_of_an_unknown_mesh_have_no_kernel(monkeypatch):
    as_on_tpu(monkeypatch)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    assert not taken(jnp.ones((64, 24)))


@pytest.mark.parametrize("checked", [False, True])
def test_inside_a_manual_mesh(monkeypatch, checked):
    """The kernel sees a core's own rows there, whatever the number of devices."""
    as_on_tpu(monkeypatch)
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    seen = []

    def run(x):
        seen.append(taken(x))
        return x

    mesh = Mesh(np.array(jax.devices()), ("batch",))
    parts = PartitionSpec("batch")
    options = {"mesh": mesh, "in_specs": parts, "out_specs": parts, "check_vma": checked}
    jax.jit(jax.shard_map(run, **options))(jnp.ones((64, 24)))
    assert seen == [not checked]
