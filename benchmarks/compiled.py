"""What the accelerators' compilers make of a training step, without an accelerator.

    python benchmarks/compiled.py --json benchmarks/results/compiled/layers.json layers
    python benchmarks/compiled.py --json benchmarks/results/compiled/pod.json pod

Estimates of compilers, not times: each is the cycles of our layer's step over those of Keras's
batch norm; for a GPU, whose compiler estimates nothing, passes over memory. It installs nothing. It
needs what `make test-compiled` has in `.venv-compiled`, and TensorFlow for its part; a layer takes
seconds to compile, a step of ResNet-50 some minutes.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _gpu
import _hlo
import _target
import _tpu
from _programs import layer_step, network_step, norms, sgd_step

# Input, samples of a ghost batch.
LAYERS = {
    "convolution 1024 x 32 x 32 x 64": ((1024, 32, 32, 64), 32),
    "convolution, a tail: 1000 samples": ((1000, 32, 32, 64), 32),
    "dense 65536 x 256": ((65536, 256), 32),
    "dense 16384 x 768": ((16384, 768), 32),
    "dense 4096 x 1024": ((4096, 1024), 32),
    "dense, a tail: 65516 x 256": ((65516, 256), 32),
    "dense 60000 x 256, V = 20": ((60000, 256), 20),
    "dense 6000 x 1024, V = 100": ((6000, 1024), 100),
    "dense 8192 x 100, V = 7": ((8192, 100), 7),
    "dense 65536 x 256, V = 8192": ((65536, 256), 8192),
}
PRECISIONS = ("float32", "bfloat16")
# What the parts need beside JAX: a package and what it is imported as.
LIBTPU, GPU = ("libtpu", "libtpu"), ("jax-cuda12-pjrt", "jax_cuda12_plugin")
NEEDED = {
    "layers": [LIBTPU],
    "instructions": [LIBTPU],
    "pod": [LIBTPU],
    "gpu": [GPU],
    "cpu": [],
    "tensorflow": [LIBTPU, GPU, ("tensorflow-cpu", "tensorflow")],
}


def cycles_a_byte(target):
    """Of an activation, which reads and writes every number once."""
    import jax

    shape = (8192 * target.number, 1024)
    program = target.compiled(jax.nn.relu, (target.data(shape),), target.parts)
    return _hlo.cycles(program.as_text(), 0.0) * target.number / (2 * 4 * math.prod(shape))


def layers(chips, number, names, precisions):
    """Ratios of our layer to Keras's, by itself and in a network; the batch is a chip's."""
    rows = []
    for chip in chips:
        target = _tpu.target(chip, number)
        per_byte = cycles_a_byte(target)
        for name in names:
            (batch, *others), virtual_batch = LAYERS[name]
            shape = (batch * number, *others)
            for precision in precisions:
                row = {"chip": chip, "chips": number, "case": name, "precision": precision}
                built = norms(shape, virtual_batch, precision)
                kinds = {"alone": layer_step}
                if len(shape) == 2:
                    kinds["network"] = network_step
                for kind, step in kinds.items():
                    costs = {}
                    for contender, layer in built.items():
                        program = step(target, layer, shape, precision)
                        costs[contender] = _hlo.cost(program, per_byte)
                        row[f"{kind} {contender}"] = round(costs[contender])
                        if number > 1:
                            found = _hlo.collectives(program.as_text())
                            row[f"{kind} {contender}, collectives"] = found
                    row[kind] = round(costs["ghost"] / costs["Keras"], 3)
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def instructions(chips, names, precisions):
    """Whether the kernels' instructions take longer than their bytes: cycles of both."""
    rows = []
    for chip in chips:
        target = _tpu.target(chip)
        per_byte = cycles_a_byte(target)
        _tpu.instructions()
        for name in names:
            shape, virtual_batch = LAYERS[name]
            for precision in precisions if len(shape) == 2 else ():
                layer = norms(shape, virtual_batch, precision)["ghost"]
                program = layer_step(target, layer, shape, precision)
                found = _tpu.instructions()
                for kernel, moved in _hlo.kernels(program.as_text()).items():
                    row = {"chip": chip, "case": name, "precision": precision, "kernel": kernel}
                    row["instructions"], row["bytes"] = found[kernel], round(moved * per_byte)
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    return rows


def passes(target, names, precisions):
    """Passes over memory of a layer's step, by Keras's layer and ours."""
    rows = []
    for name in names:
        shape, virtual_batch = LAYERS[name]
        for precision in precisions:
            row = {"case": name, "precision": precision}
            size = math.prod(shape) * (4 if precision == "float32" else 2)
            for contender, layer in norms(shape, virtual_batch, precision).items():
                program = layer_step(target, layer, shape, precision)
                row[contender] = round(_hlo.passes(program.as_text(), size), 2)
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def tensorflow(chips, names, precisions):
    """TensorFlow's programs: estimated cycles on TPUs, passes over memory on an H100."""
    import _tensorflow

    targets = {chip: _tpu.target(chip) for chip in chips}
    rows = []
    for name in names:
        shape, virtual_batch = LAYERS[name]
        for precision in precisions:
            size = math.prod(shape) * (4 if precision == "float32" else 2)
            for chip, target in (*targets.items(), ("H100", _gpu.target())):
                row = {"chip": chip, "case": name, "precision": precision}
                for contender, layer in norms(shape, virtual_batch, precision).items():
                    text = _tensorflow.layer_step(target, layer, shape, precision)
                    found = _hlo.passes(text, size) if chip == "H100" else _hlo.cycles(text, 0.0)
                    row[contender] = round(found, 2)
                row["ratio"] = round(row["ghost"] / row["Keras"], 3)
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def pod(numbers):
    """ResNet-50's SGD step in mixed bfloat16, 64 pictures a chip: cycles, memory, collectives."""
    import keras

    from keras_bigbatch.layers import to_ghost

    keras.config.set_dtype_policy("mixed_bfloat16")
    plain = keras.applications.ResNet50(weights=None, input_shape=(224, 224, 3))
    rows = []
    for number in numbers:
        for contender, model in (("Keras", plain), ("ghost", to_ghost(plain, 32))):
            target = _tpu.target("v5e", number)
            program = sgd_step(target, model, 64 * number)
            text, memory = program.as_text(), program.memory_analysis()
            row = {
                "chips": number,
                "norm": contender,
                "cycles": round(_hlo.cycles(text, 0.0)),
                "bytes": round(program.cost_analysis()["bytes accessed"]),
                "temporary": memory.temp_size_in_bytes,
                "collectives": _hlo.collectives(text),
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def environment(part):
    """Versions of what the figures depend on."""
    names = ["jax", "jaxlib", "keras", *(package for package, _ in NEEDED[part])]
    return {name: importlib.metadata.version(name) for name in names}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=list(NEEDED))
    parser.add_argument("--chips", nargs="+", default=list(_tpu.CHIPS), choices=list(_tpu.CHIPS))
    parser.add_argument("--cases", nargs="+", default=[""], help="beginnings of names of layers")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--numbers", nargs="+", type=int, help="of chips (1; pod: 1 8 256)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args()


def main():
    arguments = parse()
    for package, module in NEEDED[arguments.part]:
        if importlib.util.find_spec(module) is None:
            sys.exit(
                f"{package} is not installed. `make test-compiled` makes .venv-compiled with all "
                "that is needed but TensorFlow: add that by `.venv-compiled/bin/pip install`."
            )
    if LIBTPU in NEEDED[arguments.part]:
        _tpu.prepare(instructions=arguments.part == "instructions")
    if GPU in NEEDED[arguments.part]:
        _gpu.prepare()
    backend = "tensorflow" if arguments.part == "tensorflow" else "jax"
    os.environ.update(KERAS_BACKEND=backend, TF_CPP_MIN_LOG_LEVEL="3")
    names = [name for name in LAYERS if name.startswith(tuple(arguments.cases))]
    if arguments.part == "layers":
        rows = layers(arguments.chips, (arguments.numbers or [1])[0], names, arguments.precisions)
    elif arguments.part == "instructions":
        rows = instructions(arguments.chips, names, arguments.precisions)
    elif arguments.part == "gpu":
        rows = passes(_gpu.target(), names, arguments.precisions)
    elif arguments.part == "cpu":
        rows = passes(_target.cpu(), names, arguments.precisions)
    elif arguments.part == "tensorflow":
        rows = tensorflow(arguments.chips, names, arguments.precisions)
    else:
        rows = pod(arguments.numbers or [1, 8, 256])
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"environment": environment(arguments.part), "rows": rows}, indent=1)
        arguments.json.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
