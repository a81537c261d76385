"""What is not public in TensorFlow and torch: it is there, and without it we are only slower."""

import importlib
import sys

import keras
import numpy as np
import pytest

from keras_bigbatch import _backend
from keras_bigbatch.optimizers import LARS
from tests import oracles
from tests.optimizers import steps

BACKEND = keras.backend.backend()
tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's names")
torch_only = pytest.mark.skipif(BACKEND != "torch", reason="torch's names")

TENSORFLOW = {
    "tensorflow.python.distribute.tpu_util": "enclosing_tpu_context",
    "tensorflow.python.ops.control_flow_util": "GraphOrParentsInXlaContext",
}
FOREACH = ["add_", "copy_", "mul", "mul_", "sub_"]


@pytest.fixture
def private(monkeypatch):
    """The names' module, which is loaded afresh when the test has ended."""
    module = importlib.import_module(f"keras_bigbatch._backend.{BACKEND}.private_api")
    yield module
    monkeypatch.undo()
    importlib.reload(module)


def never(*_, **__):
    raise AssertionError("This is the path that needs the missing name.")


@tensorflow_only
@pytest.mark.parametrize(("module", "name"), TENSORFLOW.items())
def test_tensorflow_has_the_name(module, name):
    assert callable(getattr(importlib.import_module(module), name))


@torch_only
def test_torch_has_the_names(private):
    import torch

    assert callable(torch._C._are_functorch_transforms_active)
    assert callable(torch.native_batch_norm)
    assert callable(torch.ops.aten.native_batch_norm_backward.out)
    assert all(callable(getattr(torch, f"_foreach_{name}")) for name in FOREACH)
    assert callable(torch.nn.parallel.DistributedDataParallel._get_active_ddp_module)
    assert callable(private.madvise) == (sys.platform == "linux")


def assert_ghost_norm_is_right(dtype="float32", wrap=lambda function: function):
    """Output and gradients of 67 samples in groups of 8, against NumPy."""
    rng = np.random.default_rng(0)
    x, dy = rng.normal(1.0, 2.0, size=(2, 67, 4, 3, 6)).astype("float32")
    x = keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(x, dtype), "float32"))
    gamma, beta = np.linspace([0.5, -1.0], [2.0, 1.0], 6, axis=1).astype("float32")
    wanted, _, slopes = oracles.ghost_batch_norm(x, gamma, beta, 8, 3, 1e-3, dy)
    gradient = _backend.active().gradients.value_and_gradient(
        lambda values, dy: keras.ops.sum(keras.ops.cast(normalized(*values), "float32") * dy)
    )

    def normalized(x, gamma, beta):
        return _backend.active().ghost_norm.ghost_normalize(x, gamma, beta, 8, 3, 1e-3)[0]

    tensors = [keras.ops.cast(x, dtype), *map(keras.ops.convert_to_tensor, (gamma, beta))]
    found = [
        wrap(normalized)(*tensors),
        *wrap(gradient)(tensors, keras.ops.convert_to_tensor(dy))[1],
    ]
    rounding = 1e-4 if dtype == "float32" else 2.0**-6
    for actual, value in zip(found, (wanted, *slopes), strict=True):
        actual = keras.ops.convert_to_numpy(keras.ops.cast(actual, "float32"))
        np.testing.assert_allclose(actual, value, rtol=rounding, atol=rounding * np.ptp(value))


@tensorflow_only
@pytest.mark.parametrize("jit", [None, False, True], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("gone", [*([module] for module in TENSORFLOW), list(TENSORFLOW)], ids=str)
def test_ghost_norm_without_tensorflows_names(monkeypatch, private, gone, jit):
    import tensorflow as tf

    for module in gone:
        monkeypatch.setitem(sys.modules, module, None)
    importlib.reload(private)
    monkeypatch.setattr(tf.raw_ops, "EuclideanNorm", never)  # of the path for a CPU without XLA
    if jit is None:
        assert_ghost_norm_is_right()
    else:
        assert_ghost_norm_is_right(wrap=lambda each: tf.function(each, jit_compile=jit))


@tensorflow_only
def test_with_its_names_tensorflow_is_faster(monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(tf.raw_ops, "EuclideanNorm", never)
    with pytest.raises(AssertionError, match="missing name"):
        assert_ghost_norm_is_right()


@torch_only
def test_ghost_norm_without_torchs_test_for_transforms(monkeypatch):
    import torch

    monkeypatch.delattr(torch._C, "_are_functorch_transforms_active")
    monkeypatch.setattr("keras_bigbatch._backend.torch.ghost_norm.tiles.normalize", never)
    assert_ghost_norm_is_right()


@torch_only
@pytest.mark.parametrize("gone", ["native_batch_norm", "native_batch_norm_backward"])
def test_ghost_norm_without_torchs_kernel(monkeypatch, private, gone):
    import torch

    from keras_bigbatch._backend.torch.ghost_norm import kernel

    monkeypatch.setattr(kernel, "_LEAST", 1)  # It would be taken.
    monkeypatch.setattr(kernel, "normalize", never)
    with pytest.raises(AssertionError, match="missing name"):
        assert_ghost_norm_is_right("bfloat16")
    if gone == "native_batch_norm":
        monkeypatch.delattr(torch, gone)
    else:
        monkeypatch.delattr(torch.ops.aten, gone, raising=False)
        monkeypatch.setattr(type(torch.ops.aten), "__getattr__", missing)
    monkeypatch.setattr(kernel, "_BACKWARD", private.batch_norm_backward())
    assert_ghost_norm_is_right("bfloat16")


def missing(_, name):
    raise AttributeError(name)


@torch_only
def test_large_outputs_without_madvise(monkeypatch, private):
    import ctypes

    class NoLibrary:
        def __init__(self, _):
            pass

    monkeypatch.setattr(ctypes, "CDLL", NoLibrary)
    importlib.reload(private)
    assert private.madvise is None
    x = np.random.default_rng(0).normal(size=(1000, 64, 64)).astype("float32")
    y, _ = _backend.active().ghost_norm.ghost_normalize(
        keras.ops.convert_to_tensor(x), None, None, 8, 2, 1e-3
    )
    np.testing.assert_allclose(y, oracles.ghost_batch_norm(x, 1, 0, 8, 2, 1e-3)[0], atol=1e-4)


@torch_only
@pytest.mark.filterwarnings("ignore:LARS without weight decay")
@pytest.mark.parametrize("gone", FOREACH)
def test_an_update_without_torchs_operations_on_lists(monkeypatch, private, gone):
    import torch

    from keras_bigbatch._backend.torch import optimizer

    monkeypatch.delattr(torch, f"_foreach_{gone}")
    monkeypatch.setattr(optimizer, "_HAS_FOREACH", private.has_foreach())
    weights, gradients = steps.weights_and_gradients(3)
    # Keras's own update needs some of them too, for its clipping and averages, but not for this.
    found = steps.stepped(LARS(0.7, trust_coefficient=0.02), weights, gradients)

    def ratio(w, g):
        return 0.02 * np.linalg.norm(w) / np.linalg.norm(g)

    expected = steps.oracle(ratio, weights, gradients, 0.7, momentum=0.9)
    steps.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@torch_only
def test_ranks_are_not_guessed(monkeypatch):
    import torch

    data_parallel = torch.nn.parallel.DistributedDataParallel
    monkeypatch.delattr(data_parallel, "_get_active_ddp_module")
    assert _backend.active().replicas.replicas() == 1  # Without a process group none is needed.
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    with pytest.raises(RuntimeError, match="DistributedDataParallel"):
        _backend.active().replicas.replicas()
