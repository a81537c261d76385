"""Kernels and passes over memory of a layer's step as torch on CUDA would run it, without a GPU.

    python benchmarks/torch_passes.py --json benchmarks/results/compiled/torch.json

Each operation that torch dispatches is a kernel there, and reads and writes its tensors once; so
does each of the layer's own kernels. They are counted on small CPU tensors, without being run. It
needs Triton, which is in `.venv-compiled`.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
from functools import partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parent))

# Input, samples of a ghost batch. The counts do not depend on the sizes.
CASES = {
    "convolution": ((128, 16, 16, 64), 8),
    "convolution, a tail": ((125, 16, 16, 64), 8),
    "dense": ((4096, 64), 32),
    "dense, a tail": ((4090, 64), 32),
}
# What makes a view, or memory that nothing is written into.
NO_KERNEL = {"detach", "empty", "empty_like", "empty_strided", "new_empty", "lift_fresh", "alias"}
NO_KERNEL |= {"_unsafe_view", "_reshape_alias", "is_same_size"}


def counter(elements):
    """A mode that counts kernels, and reads and writes of at least a quarter of the input."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def in_memory(tensor):
        """Elements that are there: a broadcast axis has one."""
        places = zip(tensor.shape, tensor.stride(), strict=True)
        return math.prod(size for size, stride in places if stride)

    class Counter(TorchDispatchMode):
        kernels, passes = 0, 0.0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            name = function.__name__.split(".")[0]
            if not function.is_view and name not in NO_KERNEL:
                self.count(args, kwargs, result)
            return result

        def count(self, *used):
            self.kernels += 1
            for each in tree_leaves(used):
                if isinstance(each, torch.Tensor) and in_memory(each) >= elements / 4:
                    self.passes += in_memory(each) / elements

    return Counter()


@contextlib.contextmanager
def on_a_gpu(triton_kernels=True):
    """CPU tensors are taken for a GPU's; its kernels are counted by the mode and not run."""
    from torch.utils._python_dispatch import _get_current_dispatch_mode
    from triton.runtime.interpreter import GridExecutor

    from keras_bigbatch._backend.torch import ghost_norm
    from keras_bigbatch._backend.torch.ghost_norm import gpu

    def launched(_, *arguments, **__):
        _get_current_dispatch_mode().count(arguments)

    with (
        patch.object(ghost_norm, "gpu_form", lambda _: gpu),
        patch.object(ghost_norm, "_is_plain", lambda _: triton_kernels),
        patch.object(GridExecutor, "__call__", launched),
    ):
        yield


def layers(shape, virtual_batch, precision):
    """Keras's layer, ours by kernels and by operations, and torch's kernel for the whole batch."""
    import keras
    import torch

    from keras_bigbatch import GhostBatchNormalization

    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    found = {
        "Keras": keras.layers.BatchNormalization(dtype=policy),
        "ghost": GhostBatchNormalization(virtual_batch, dtype=policy),
        "ghost, operations": GhostBatchNormalization(virtual_batch, dtype=policy),
    }
    for layer in found.values():
        layer.build(shape)
    gamma, beta = (torch.ones(shape[-1], requires_grad=True) for _ in range(2))
    mean, variance = torch.zeros(shape[-1]), torch.ones(shape[-1])

    def fused(x):
        first = x.movedim(-1, 1)
        y = torch.nn.functional.batch_norm(first, mean, variance, gamma, beta, training=True)
        return y.movedim(1, -1)

    return {**{name: partial(each, training=True) for name, each in found.items()}, "fused": fused}


def measure(shape, virtual_batch, precision):
    """Kernels forward and backward, and passes of both, by contender."""
    import torch

    found = {}
    for name, layer in layers(shape, virtual_batch, precision).items():
        x = torch.randn(shape).to(getattr(torch, precision)).requires_grad_()
        forward, backward = counter(x.numel()), counter(x.numel())
        with on_a_gpu(triton_kernels=name != "ghost, operations"):
            with forward:
                y = layer(x)
            ones = torch.ones_like(y)
            with backward:
                y.backward(ones)
        found[name] = {
            "forward": forward.kernels,
            "backward": backward.kernels,
            "passes": round(forward.passes + backward.passes, 1),
        }
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    if importlib.util.find_spec("triton") is None:
        sys.exit("Triton is not installed: `make test-compiled` installs it into .venv-compiled.")
    os.environ.update(KERAS_BACKEND="torch", TRITON_INTERPRET="1")
    rows = []
    for name, (shape, virtual_batch) in CASES.items():
        for precision in ("float32", "bfloat16"):
            row = {"case": name, "precision": precision}
            row.update(measure(shape, virtual_batch, precision))
            rows.append(row)
            print(json.dumps(row), flush=True)
    if arguments.json:
        versions = {name: importlib.metadata.version(name) for name in ("torch", "keras", "triton")}
        text = json.dumps({"environment": versions, "rows": rows}, indent=1)
        arguments.json.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
