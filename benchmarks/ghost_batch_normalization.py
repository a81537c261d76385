"""One training step of a normalization layer, as a ratio to Keras's own batch norm.

A step is the forward pass with the update of the moving statistics, and the backward pass to the
input, gamma and beta, as `fit` runs it on the backend. In each round every layer makes one step, in
turn; the figure is the median of the rounds' ratios: on a CPU in CPU time of the process on one
thread, so that other programs disturb it little, on several threads or an accelerator in wall time.
Then the same for the steps of `fit` with a small ResNet, and the peaks of memory, on torch from a
process of their own.

    python benchmarks/ghost_batch_normalization.py --backend torch --json result.json
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import _measure
import _resnet
from _contenders import layers_of, step_of

# name: shape, axis, virtual batch, precision
CASES = {
    "conv, channels last": ((512, 16, 16, 64), -1, 32, "float32"),
    "conv, channels first": ((512, 64, 16, 16), 1, 32, "float32"),
    "dense": ((4096, 512), -1, 32, "float32"),
    "conv, bfloat16": ((512, 16, 16, 64), -1, 32, "bfloat16"),
    "conv, a tail": ((500, 16, 16, 64), -1, 32, "float32"),
    "dense, a tail": ((4016, 512), -1, 32, "float32"),
    "conv, one group": ((512, 16, 16, 64), -1, 512, "float32"),
}
CONTENDERS = ["ghost", "loop", "tf-keras", "native", "relu", "none"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["jax", "tensorflow", "torch"])
    parser.add_argument("--jit", action="store_true", help="TensorFlow: jit_compile=True")
    parser.add_argument("--threads", type=int, default=1, help="of a CPU")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument(
        "--only", choices=["layer", "resnet", "memory"], nargs="+", help="leave out the others"
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, metavar="CASE", default=list(CASES))
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS[:-1], default=CONTENDERS)
    parser.add_argument("--json", type=Path, help="write the figures there; for report.py")
    options = parser.parse_args()
    if options.rounds < 3:
        parser.error("quartiles need 3 rounds or more")
    if options.threads < 1:
        parser.error("a CPU works with 1 thread or more")
    return options


def steps_of(keras, name, options):
    """The case's steps by the layer's name, and the arguments of all of them."""
    import numpy as np

    case = CASES[name]
    shape, _, _, precision = case
    rng = np.random.default_rng(0)
    x, dy = (keras.ops.cast(rng.normal(size=shape), precision) for _ in range(2))
    if keras.backend.backend() == "torch":
        x.requires_grad_()
    steps = {
        name: step_of(keras, name, layer, case, options.jit)
        for name, layer in layers_of(keras, case, options.jit).items()
        if name == "Keras" or name in options.contenders
    }
    return steps, (x, dy)


def measure_layers(keras, options, clock):
    """For each case Keras's milliseconds and the ratios to it, printed as they come."""
    print(f"{'':22}{'Keras':>10}   " + "".join(f"{name:22}" for name in CONTENDERS[:-1]))
    results = {}
    for name in options.cases:
        steps, arguments = steps_of(keras, name, options)
        bound = {
            layer: lambda step=step, wait=wait, given=arguments: wait(step(*given))
            for layer, (step, wait) in steps.items()
        }
        results[name] = _measure.ratios(_measure.in_turn(bound, options.rounds, clock))
        print_ratios(name, results[name], CONTENDERS[:-1])
    return results


def print_ratios(name, result, columns):
    cells = [_measure.cell(r) if (r := result["ratios"].get(c)) else "-" for c in columns]
    line = "".join(f"{cell:22}" for cell in cells)
    print(f"{name:22}{result['milliseconds']:7.1f} ms   {line}".rstrip(), flush=True)


def measure_memory(keras, options):
    """For each case the bytes of the input, and each layer's peak."""
    results = {}
    for name in options.cases:
        steps, arguments = steps_of(keras, name, options)
        peaks = {
            layer: _measure.peak_bytes(keras, step, *arguments)
            for layer, (step, _) in steps.items()
        }
        shape, _, _, precision = CASES[name]
        size = 2 if precision == "bfloat16" else 4
        for length in shape:
            size *= length
        results[name] = {"input": size, "peak": peaks}
    return results


def memory_in_a_process():
    """What `measure_memory` returns, from a process that gives memory back at once."""
    environment = {**os.environ, **_measure.MEMORY_ENVIRONMENT, "BENCHMARK_MEMORY": "1"}
    output = subprocess.run(
        [sys.executable, *sys.argv], env=environment, check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def print_memory(results):
    print("\nPeak of a step beside x and dy, in sizes of the input")
    columns = ["Keras", *CONTENDERS[:-1]]
    print(" " * 22 + "".join(f"{name:>10}" for name in columns))
    for name, result in results.items():
        peaks = [result["peak"].get(column) for column in columns]
        cells = ["-" if peak is None else f"{peak / result['input']:.2f}" for peak in peaks]
        print(f"{name:22}" + "".join(f"{cell:>10}" for cell in cells))


def main():
    options = parse()
    keras = _measure.import_keras(options.backend, options.threads)
    if "BENCHMARK_MEMORY" in os.environ:
        print(json.dumps(measure_memory(keras, options)))
        return
    context = _measure.environment(keras, options.jit, options.rounds, options.threads)
    print(", ".join(f"{name} {value}" for name, value in context.items()))
    clock, _ = _measure.clock_of(keras, options.threads)
    wanted = options.only or ["layer", "resnet", "memory"]
    result = {"environment": context}
    if "layer" in wanted:
        result["cases"] = measure_layers(keras, options, clock)
    if "resnet" in wanted:
        columns = ["ghost", "loop", "none"]
        print(f"\n{'':22}{'Keras':>10}   " + "".join(f"{name:22}" for name in columns))
        result["resnet"] = _resnet.measure(keras, options.rounds, clock, options.jit)
        print_ratios("ResNet-8, a fit step", result["resnet"], columns)
    if "memory" in wanted:
        # Only torch's on a CPU is read from the process.
        alone = keras.backend.backend() == "torch"
        result["memory"] = memory_in_a_process() if alone else measure_memory(keras, options)
        print_memory(result["memory"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
