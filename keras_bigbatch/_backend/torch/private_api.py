"""What is not public in torch. If a name is gone, the slower path is taken."""

import ctypes
import mmap
import sys
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from keras_bigbatch._typing import Tensor

# A huge page's bytes on most machines.
_HUGE_PAGE = 2**21


def function_transforms_may_be_active() -> bool:
    """Whether `torch.func` may be differentiating or mapping: it cannot see writes into memory.

    Without the name that is not known, and ghost batch norm is done by the reference, as
    operations that every transform sees.
    """
    active = getattr(torch._C, "_are_functorch_transforms_active", None)
    return active is None or bool(active())


def batch_norm_backward() -> Any:
    """The backward pass of `torch.native_batch_norm` that writes into given outputs.

    None without either of the two. Then ghost batch norm goes by tiles in half precision too: what
    is public allocates its outputs.
    """
    try:
        return torch.native_batch_norm and torch.ops.aten.native_batch_norm_backward.out
    except AttributeError:
        return None


def has_foreach() -> bool:
    """Whether there are the operations on lists of tensors that the optimizers use.

    Without them each variable is stepped on its own, as on the other backends.
    """
    names = ("add_", "copy_", "mul", "mul_", "sub_")
    return all(hasattr(torch, f"_foreach_{name}") for name in names)


def active_data_parallel_module() -> Any:
    """The `DistributedDataParallel` whose forward pass runs, which torch's compiler reads too.

    Without the name nobody can say whether the ranks run one step together, and to guess would
    mean wrong statistics or ranks that wait for ever: so this raises. It is called in a process
    group only.
    """
    active = getattr(DistributedDataParallel, "_get_active_ddp_module", None)
    if active is None:
        raise RuntimeError(
            f"keras_bigbatch cannot tell with torch {torch.__version__} whether a forward pass "
            "through DistributedDataParallel runs. Use another version of torch, or train without "
            "a process group."
        )
    return active()


# The C library's, of Linux. There is no public way to ask for huge pages for a tensor's memory;
# without the function, and elsewhere, it comes in small ones.
madvise = getattr(ctypes.CDLL(None), "madvise", None) if sys.platform == "linux" else None
if madvise is not None:
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int


def ask_for_huge_pages(tensor: Tensor) -> None:
    """Has Linux map a large tensor that is not written yet in a third of the time."""
    begin = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    size = tensor.data_ptr() + tensor.nbytes - begin
    if sys.platform == "linux" and madvise is not None and size >= _HUGE_PAGE:
        madvise(begin, size, mmap.MADV_HUGEPAGE)  # refused or not, the memory is there
