"""A backend's own ghost batch norm against the reference in `keras.ops`, on that backend."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_bigbatch import _backend
from keras_bigbatch._backend.reference import ghost_norm
from keras_bigbatch.layers import GhostBatchNormalization
from tests.autodiff import layer_gradients

BACKEND = keras.backend.backend()

# Channels last, first with few and with many positions, and in between; rank 2 has none.
SHAPES = [((6,), 1), ((4, 3, 6), 3), ((6, 4, 3), 1), ((2, 12, 12), 1), ((4, 6, 3), 2)]
if BACKEND == "jax":
    SHAPES = SHAPES[:1]  # JAX's form is the reference but for rank 2.
BATCHES = [1, 7, 8, 9, 15, 64, 67]


@pytest.fixture(autouse=True, params=["one tile", "many tiles"] if BACKEND == "torch" else [""])
def tiles(request, monkeypatch):
    if request.param == "many tiles":
        make_tiles_small(monkeypatch, 100)  # A sample or two of the pictures, two groups of rank 2.
    elif BACKEND == "torch":  # and half precision by torch's own kernel
        monkeypatch.setattr("keras_bigbatch._backend.torch.ghost_norm.kernel._LEAST", 1)


def make_tiles_small(monkeypatch, elements=300):
    module = "torch.ghost_norm.tiles" if BACKEND == "torch" else f"{BACKEND}.ghost_norm"
    monkeypatch.setattr(f"keras_bigbatch._backend.{module}._TILE", elements)


def both(monkeypatch, layer, x, dy):
    """Results of the backend's own form and of the reference, from the same layer state."""
    state = layer.get_weights()
    results = []
    for reference in (False, True):
        layer.set_weights(state)
        for variable in layer.trainable_variables:
            if BACKEND == "torch":
                variable.value.grad = None
        with monkeypatch.context() as patch:
            if reference:
                patch.setattr(
                    _backend.active().ghost_norm, "ghost_normalize", ghost_norm.ghost_normalize
                )
            y, dx, gradients = layer_gradients(layer, x, dy)
        results.append([y, dx, *gradients, *layer.get_weights()[-2:]])
    return zip(*results, strict=True)


def data(batch, shape, dtype="float32"):
    rng = np.random.default_rng(batch)
    x = rng.normal(size=(batch, *shape)) * 2 + 1
    return ops.cast(x, dtype), rng.normal(size=x.shape).astype("float32")


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_float32(monkeypatch, shape, axis, batch):
    x, dy = data(batch, shape)
    layer = GhostBatchNormalization(8, axis=axis)
    layer.build(x.shape)
    for actual, wanted in both(monkeypatch, layer, x, dy):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("shape", "axis"), SHAPES, ids=str)
def test_half_precision(monkeypatch, shape, axis, dtype):
    x, dy = data(67, shape, dtype)
    layer = GhostBatchNormalization(8, axis=axis, dtype=f"mixed_{dtype}")
    layer.build(x.shape)
    rounding = {"bfloat16": 2.0**-7, "float16": 2.0**-10}[dtype]
    y, dx, *float32 = both(monkeypatch, layer, x, dy)
    for actual, wanted in (y, dx):
        np.testing.assert_allclose(
            actual.astype("float32"), wanted.astype("float32"), rtol=2 * rounding, atol=rounding
        )
    # What is float32 in both differs by the rounding of `dy` alone, which is the same.
    for actual, wanted in float32:
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("center", "scale"), [(False, True), (True, False), (False, False)])
def test_without_gamma_or_beta(monkeypatch, center, scale):
    x, dy = data(19, (4, 6))
    layer = GhostBatchNormalization(8, center=center, scale=scale)
    layer.build(x.shape)
    for actual, wanted in both(monkeypatch, layer, x, dy):
        np.testing.assert_allclose(actual, wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's walk depends on strides")
def test_any_strides():
    import torch

    layer = GhostBatchNormalization(8)
    layer.build((19, 4, 5, 6))
    base = torch.randn(4, 19, 6, 12)
    for x in (
        base.permute(1, 0, 3, 2)[:, :, :5, :],
        torch.randn(19, 4, 5, 6)[:, :, :, :1].expand(19, 4, 5, 6),
    ):
        y = layer(x, training=True)
        wanted, _ = ghost_norm.ghost_normalize(x, None, None, 8, 3, layer.epsilon)
        np.testing.assert_allclose(y.detach().numpy(), wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's walk has tiles, whose order matters")
@pytest.mark.parametrize("axis", [1, 3])
@pytest.mark.parametrize(("mean", "far"), [(0, 0), (1e4, 0), (0, 100), (1e4, 100)])
def test_moments_about_the_first_tile(axis, mean, far):
    import torch

    x = np.random.default_rng(0).normal(mean, 1, size=(24, 6, 5, 6)).astype("float32")
    x[::8] += far  # A group's first sample, which may be all of its first tile.
    _, moments = _backend.active().ghost_norm.ghost_normalize(
        torch.tensor(x), None, None, 8, axis, 1e-3
    )
    groups = x.astype("float64").reshape(3, 8, 6, 5, 6)
    others = tuple(i for i in range(1, 5) if i != axis + 1)
    np.testing.assert_allclose(moments.mean, groups.mean(others), rtol=3e-7, atol=1e-5)
    # E[x^2] - E[x]^2 is off by 6 of a variance of 1 at a mean of 1e4.
    np.testing.assert_allclose(moments.variance, groups.var(others), rtol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's kernel, for what suits it")
@pytest.mark.parametrize(
    ("dtype", "shape", "taken"),
    [
        ("bfloat16", (64, 16, 16, 64), True),
        ("float16", (64, 16, 16, 64), True),
        ("float32", (64, 16, 16, 64), False),
        ("float16", (64, 16, 17, 64), False),  # Too many elements of a channel.
        ("bfloat16", (64, 16, 17, 64), True),
        ("bfloat16", (95, 16, 33, 64), True),  # All of it one group.
        ("bfloat16", (64, 4, 4, 16), False),  # Too few of a group.
    ],
    ids=str,
)
def test_when_torchs_kernel_is_taken(monkeypatch, dtype, shape, taken):
    import torch

    from keras_bigbatch._backend.torch.ghost_norm import kernel, tiles

    monkeypatch.setattr(kernel, "_LEAST", 2**14 // torch.get_num_threads())
    x = torch.zeros(shape, dtype=getattr(torch, dtype))
    assert kernel.suits(tiles.Walk(x, 32, 3)) == taken


@pytest.mark.skipif(BACKEND != "torch", reason="torch's kernel, which sums serially in float32")
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "size"),
    [("float16", 2**13), ("bfloat16", 2**16), ("float16", 2**19), ("bfloat16", 2**19)],
)
def test_moments_of_large_groups_in_half_precision(dtype, size, axis):
    import torch

    shape = (64, 3, size // 64) if axis == 1 else (64, size // 64, 3)
    x = torch.tensor(np.random.default_rng(0).normal(1e4, 100, size=shape))
    x = x.to(getattr(torch, dtype))
    _, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 64, axis, 1e-3)
    variance, mean = torch.var_mean(x.double(), (0, 3 - axis), correction=0)
    # The kernel's of 2**19 elements, channels last, are off by 3e-4 and 7e-4 or more.
    np.testing.assert_allclose(moments.mean[0], mean, rtol=1e-6)
    np.testing.assert_allclose(moments.variance[0], variance, rtol=2e-4)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's kernel, which reports the root alone")
@pytest.mark.parametrize("epsilon", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("axis", [1, 2])
def test_small_variances_in_half_precision(epsilon, axis):
    import torch

    x = np.random.default_rng(0).normal(0, 1e-4, size=(16, 6, 6))
    x = torch.tensor(x).to(torch.bfloat16)
    x[:8, 2] = x[:8, :, 2] = 0  # A channel that is constant.
    _, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, axis, epsilon)
    wanted = x.double().reshape(2, 8, 6, 6).var((1, 4 - axis), correction=0)
    np.testing.assert_allclose(moments.variance, wanted, rtol=1e-5)


@pytest.mark.skipif(BACKEND != "torch", reason="torch's default type")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_whatever_the_default_type_is(dtype):
    import torch

    x = torch.randn(19, 6).to(getattr(torch, dtype))
    wanted, _ = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 1, 1e-3)
    torch.set_default_dtype(torch.float64)
    try:
        y, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 1, 1e-3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(y, wanted)
    assert moments.variance.dtype == torch.float32


@pytest.mark.skipif(BACKEND != "torch", reason="torch writes into outputs of our own")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [19, 1000])  # The second in huge pages.
def test_outputs_are_like_any_other_tensor(dtype, batch):
    import torch

    x = torch.randn(batch, 64, 4, 5).to(getattr(torch, dtype)).movedim(1, 3).requires_grad_()
    y, moments = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 3, 1e-3)
    for tensor in (y, *moments[1:]):
        assert not tensor._is_view()
    assert (y.dtype, y.shape, y.stride()) == (x.dtype, x.shape, x.stride())
    wanted = y.detach().clone().relu()
    assert torch.equal(y.relu_(), wanted)
    y.sum().backward()
    assert (x.grad.dtype, x.grad.shape, x.grad.stride()) == (x.dtype, x.shape, x.stride())
    y.untyped_storage().resize_(0)  # As those do who free activations early.


@pytest.mark.skipif(BACKEND != "torch", reason="torch writes into outputs of our own")
@pytest.mark.skipif(
    not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no Linux, or no huge pages"
)
def test_large_outputs_ask_for_huge_pages():
    import torch

    x = torch.randn(1000, 64, 64)
    y, _ = _backend.active().ghost_norm.ghost_normalize(x, None, None, 8, 2, 1e-3)
    inside = y.data_ptr() + y.nbytes // 2
    flags = {}
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match("[0-9a-f]+-[0-9a-f]+ ", line):
            begin, end = (int(bound, 16) for bound in line.split()[0].split("-"))
        elif line.startswith("VmFlags:"):
            flags[begin, end] = line.split()
    [found] = [flag for (begin, end), flag in flags.items() if begin <= inside < end]
    assert "hg" in found


@pytest.mark.skipif(BACKEND != "torch", reason="torch's tracer")
@pytest.mark.filterwarnings("ignore")  # The tracer warns that it fixes the shapes.
@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-5), ("bfloat16", 2.0**-6)])
def test_a_trace_holds_the_groups(dtype, rounding):
    import torch

    def normalized(inputs):
        return _backend.active().ghost_norm.ghost_normalize(inputs, None, None, 8, 1, 1e-3)[0]

    x, other = (torch.randn(19, 6).to(getattr(torch, dtype)).requires_grad_() for _ in range(2))
    traced = torch.jit.trace(normalized, other)
    y, wanted = traced(x).detach().float(), normalized(x).detach().float()
    np.testing.assert_allclose(y, wanted, rtol=rounding, atol=rounding)


@pytest.mark.skipif(BACKEND != "torch", reason="torch alone reports what it keeps")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_of_full_size_is_kept_but_the_input(dtype):
    import torch

    x = ops.cast(np.random.default_rng(0).normal(size=(64, 8, 8, 16)), dtype).requires_grad_()
    layer = GhostBatchNormalization(16, dtype="float32" if dtype == "float32" else "mixed_bfloat16")
    layer.build(x.shape)
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer(x, training=True)
    own = x.untyped_storage()
    assert kept.pop(own.data_ptr()) == own.nbytes()
    assert sum(kept.values()) <= 0.1 * own.nbytes()


@pytest.mark.skipif(BACKEND != "torch", reason="torch's function transforms")
def test_function_transforms_see_through():
    import torch

    layer = GhostBatchNormalization(8)
    layer.build((19, 6))
    x = torch.randn(19, 6)

    def loss(inputs):
        return (layer(inputs, training=True) ** 3).sum()

    inputs = x.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(loss(inputs), inputs)

    def normalized(inputs):
        y, _ = _backend.active().ghost_norm.ghost_normalize(inputs, None, None, 8, 1, layer.epsilon)
        return (y**3).sum()

    np.testing.assert_allclose(torch.func.grad(normalized)(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone traces for any batch")
@pytest.mark.parametrize(
    ("shape", "axis", "jit", "positions"),
    [
        *(
            (shape, axis, jit, "known")
            for shape, axis in [((6,), 1), ((4, 5, 6), 3), ((6, 3, 3), 1)]
            for jit in (False, True)
        ),
        *(((4, 5, 6), 3, jit, "unknown") for jit in (False, True)),
    ],
    ids=str,
)
def test_traced_for_any_batch(monkeypatch, shape, axis, jit, positions):
    import tensorflow as tf

    make_tiles_small(monkeypatch)  # Two samples of the pictures; a batch of 19 leaves one over.
    gamma, beta = tf.linspace(0.5, 2.0, 6), tf.linspace(-1.0, 1.0, 6)

    def results(normalize, x, dy):
        with tf.GradientTape() as tape:
            tape.watch((x, gamma, beta))
            y, moments = normalize(x, gamma, beta, 8, axis, 1e-3)
        return y, *moments, *tape.gradient(y, (x, gamma, beta), dy)

    sizes = shape if positions == "known" else (None, None, 6)
    spec = tf.TensorSpec((None, *sizes))
    own = _backend.active().ghost_norm.ghost_normalize
    traced = tf.function(
        lambda x, dy: results(own, x, dy), input_signature=[spec, spec], jit_compile=jit
    )
    for batch in (1, 7, 16, 19):
        x, dy = data(batch, shape)
        found = traced(x, dy)
        wanted = results(ghost_norm.ghost_normalize, x, tf.constant(dy))
        for actual, value in zip(found, wanted, strict=True):
            np.testing.assert_allclose(actual, value, rtol=1e-4, atol=5e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="sums are made in tiles under XLA")
@pytest.mark.parametrize("batch", [7, 16, 19])
@pytest.mark.parametrize(("shape", "axis"), [((4, 5, 6), 3), ((6, 3, 3), 1), ((6,), 1)], ids=str)
def test_compiled_for_a_known_batch(monkeypatch, shape, axis, batch):
    import tensorflow as tf

    make_tiles_small(monkeypatch)

    def results(normalize, x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, moments = normalize(x, None, None, 8, axis, 1e-3)
        return y, *moments, tape.gradient(y, x, dy)

    x, dy = map(tf.constant, data(batch, shape))
    own = _backend.active().ghost_norm.ghost_normalize
    found = tf.function(lambda x, dy: results(own, x, dy), jit_compile=True)(x, dy)
    for actual, value in zip(found, results(ghost_norm.ghost_normalize, x, dy), strict=True):
        np.testing.assert_allclose(actual, value, rtol=1e-4, atol=5e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone has two kinds of graphs")
@pytest.mark.parametrize("compiled_first", [False, True])
@pytest.mark.parametrize("shape", [(6,), (4, 6)], ids=str)
def test_a_graph_may_be_run_with_and_without_xla(shape, compiled_first):
    import tensorflow as tf

    gamma, beta = tf.linspace(0.5, 2.0, 6), tf.linspace(-1.0, 1.0, 6)
    x, _ = map(tf.constant, data(19, shape))

    def gradient(normalize):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, _ = normalize(x, gamma, beta, 8, len(shape), 1e-3)
            loss = tf.reduce_sum(y**3)
        return tape.gradient(loss, x)

    own = tf.function(
        _backend.active().ghost_norm.ghost_normalize
    )  # Traced once, by what comes first.
    plain, compiled = (tf.function(lambda: gradient(own), jit_compile=jit) for jit in (None, True))
    calls = (compiled, plain, lambda: gradient(own))
    found = [call() for call in (calls if compiled_first else reversed(calls))]
    wanted = gradient(ghost_norm.ghost_normalize)
    for actual in found:
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="XLA's sums are serial, if not kept apart")
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("axis", [1, 3])
def test_a_large_group_of_a_large_mean(axis, jit):
    import tensorflow as tf

    x = np.random.default_rng(0).normal(
        1e4, 1, size=(512, 4, 64, 4) if axis == 1 else (512, 16, 16, 4)
    )
    x = x.astype("float32")
    others = tuple(i for i in range(4) if i != axis)
    normalize = _backend.active().ghost_norm.ghost_normalize
    spec = tf.TensorSpec((None, *x.shape[1:]))
    normalized = tf.function(
        lambda x: normalize(x, None, None, 512, axis, 0.0)[0],
        input_signature=[spec],
        jit_compile=jit,
    )
    exact = x.astype("float64")
    exact = (exact - exact.mean(others, keepdims=True)) / exact.std(others, keepdims=True)
    np.testing.assert_allclose(normalized(x), exact, atol=1e-2)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow alone traces for any batch")
@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("shape", [(6,), (4, 6)], ids=str)
def test_differentiated_twice_in_a_graph_for_any_batch(monkeypatch, shape, jit):
    import tensorflow as tf

    make_tiles_small(monkeypatch)  # Twelve samples of the sequences.
    gamma, beta = tf.linspace(0.5, 2.0, 6), tf.linspace(-1.0, 1.0, 6)

    def product(normalize, x, along):
        """The Hessian of a loss that weighs the channels differently, times a vector."""
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y, _ = normalize(x, gamma, beta, 8, len(shape), 1e-3)
                loss = tf.reduce_sum(tf.sin(y) * tf.range(6.0))
            slope = tf.reduce_sum(inner.gradient(loss, x) * along)
        return outer.gradient(slope, x)

    spec = tf.TensorSpec((None, *shape))
    own = _backend.active().ghost_norm.ghost_normalize
    traced = tf.function(
        lambda x, v: product(own, x, v), input_signature=[spec, spec], jit_compile=jit
    )
    for batch in (3, 16, 19):
        x, along = map(tf.constant, data(batch, shape))
        wanted = product(ghost_norm.ghost_normalize, x, along)
        np.testing.assert_allclose(traced(x, along), wanted, rtol=1e-4, atol=1e-4)
