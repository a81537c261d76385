"""What Triton's compiler makes of torch's kernels for an A100 and an H100, without a GPU.

    python benchmarks/triton_kernels.py --json benchmarks/results/compiled/triton.json

Of each kernel: registers of a thread, bytes that did not fit into them, and the bits of the widest
load of the input; 128 are the most. It needs Triton, which is in `.venv-compiled`.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# Input as the kernels see it (outer, channels, inner), a group's size in `outer`.
CASES = {
    "convolution, channels last": ((1024 * 1024, 64, 1), 32 * 1024),
    "convolution, channels first": ((1024, 64, 1024), 32),
    "convolution, channels first, 7 x 7": ((1024, 512, 49), 32),
    "dense": ((65536, 256, 1), 32),
    "dense, V = 7": ((8192, 100, 1), 7),
    "all of the batch": ((1024 * 1024, 64, 1), 1024 * 1024),
}
CHIPS = {"A100": 80, "H100": 90}
POINTERS = {"float32": "*fp32", "bfloat16": "*bf16"}
INPUTS, FLOATS = ("x", "y", "dx", "dy"), ("epsilon", "share", "log_keep")


def compiled(kernel, numbers, constants, precision, chip):
    """The kernel for one shape, with what torch's tensors and numbers tell the compiler."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants, signature, aligned = dict(constants), {}, {}
    for place, name in enumerate(kernel.arg_names):
        number = numbers.get(name) if name in ("channels", "inner") else None
        if number == 1:
            constants[name] = 1
        if name in constants:
            signature[name] = "constexpr"
        elif name in numbers:
            signature[name] = "i32"
        elif name in FLOATS:
            signature[name] = "fp32"
        else:
            signature[name] = POINTERS[precision] if name in INPUTS else "*fp32"
        if signature[name].startswith("*") or (number and number % 16 == 0):
            aligned[place,] = [["tt.divisibility", 16]]
    source = ASTSource(kernel, signature, constants, aligned)
    return triton.compile(source, target=GPUTarget("cuda", CHIPS[chip], 32))


def resources(binary):
    """Registers, and bytes of the stack, which is what did not fit into them."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [tool, "-res-usage", file.name]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return (int(re.search(rf"{name}:(\d+)", text)[1]) for name in ("REG", "STACK"))


def widest_load(program):
    """Bits of the widest load from memory."""
    loads = re.findall(r"ld\.global\S*?(?:\.v(\d))?\.b(\d+)", program)
    return max(int(vector or 1) * int(bits) for vector, bits in loads)


def measure(chip, name, precision):
    """A row for each kernel."""
    from keras_bigbatch._backend.torch.ghost_norm import gpu

    (outer, channels, inner), size = CASES[name]
    cut = gpu.cut(outer, channels, inner, size, max(outer // size, 1))
    by_group = {**gpu.small_tile(cut.groups, channels), "sequential": True, "by_elements": False}
    kernels = {
        gpu.forward.part_moments: cut.tile,
        gpu.forward.group_moments: gpu.small_tile(cut.parts, channels),
        gpu.forward.normalized: cut.tile,
        gpu.moving.moved: by_group,
        gpu.backward.part_gradients: cut.tile,
        gpu.backward.input_gradient: cut.tile,
    }
    for kernel, constants in kernels.items():
        program = compiled(kernel, cut._asdict(), constants, precision, chip)
        registers, spilled = resources(program.asm["cubin"])
        yield {
            "chip": chip,
            "case": name,
            "precision": precision,
            "kernel": kernel.fn.__name__,
            "registers": registers,
            "spilled": spilled,
            "widest load": widest_load(program.asm["ptx"]),
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chips", nargs="+", default=list(CHIPS), choices=list(CHIPS))
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    if importlib.util.find_spec("triton") is None:
        sys.exit("Triton is not installed: `make test-compiled` installs it into .venv-compiled.")
    os.environ["KERAS_BACKEND"] = "torch"
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # its default, which it warns of
    rows = []
    for chip in arguments.chips:
        for name in CASES:
            for precision in POINTERS:
                for row in measure(chip, name, precision):
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    if arguments.json:
        names = ("triton", "torch", "keras")
        versions = {name: importlib.metadata.version(name) for name in names}
        text = json.dumps({"environment": versions, "rows": rows}, indent=1)
        arguments.json.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
