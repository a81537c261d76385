"""What the accelerators' compilers make of a training step, without an accelerator.

    python benchmarks/compiled.py --json benchmarks/results/compiled/layers.json layers
    python benchmarks/compiled.py --json benchmarks/results/compiled/pod.json pod

Estimates of compilers, not times: each is the cycles of our layer's step over those of Keras's
batch norm. It installs nothing. It needs JAX and `libtpu`, as `make test-compiled` has them in
`.venv-compiled`; a layer takes seconds to compile, a step of ResNet-50 some minutes.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import _hlo
import _tpu

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


def norms(shape, virtual_batch, precision):
    """Keras's layer and ours, built."""
    import keras

    from keras_bigbatch import GhostBatchNormalization

    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    layers = {
        "Keras": keras.layers.BatchNormalization(dtype=policy),
        "ghost": GhostBatchNormalization(virtual_batch, dtype=policy),
    }
    for layer in layers.values():
        layer.build(shape)
    return layers


def layer_step(target, layer, shape, precision):
    """Forward, moving statistics and backward of a layer by itself."""
    import jax

    def step(values, moving, x, dy):
        def forward(values, x):
            return layer.stateless_call(values, moving, x, training=True)

        y, backward, moved = jax.vjp(forward, values, x, has_aux=True)
        # Its output is wanted before the gradient comes.
        y, dy = jax.lax.optimization_barrier((y, dy))
        return y, backward(dy), moved

    values, moving = layer.trainable_variables, layer.non_trainable_variables
    data = target.data(shape, precision)
    outputs = (target.parts, ([target.whole] * len(values), target.parts))
    outputs = (*outputs, [target.whole] * len(moving))
    return target.compiled(step, (target.like(values), target.like(moving), data, data), outputs)


def network_step(target, layer, shape, precision):
    """Twice a product, the layer and a ReLU, with the gradients of all weights."""
    import jax
    import jax.numpy as jnp
    import keras

    channels = shape[1]
    values, moving = layer.trainable_variables, layer.non_trainable_variables

    def loss(parameters, moving, x):
        moved = []
        for (values, weights), state in zip(parameters, moving, strict=True):
            x = jnp.dot(x, weights.astype(x.dtype))
            x, state = layer.stateless_call(values, state, x, training=True)
            x = jax.nn.relu(x)
            moved.append(state)
        return jnp.mean(jnp.square(x.astype("float32"))), moved

    weights = keras.ops.zeros((channels, channels))
    parameters = [(target.like(values), target.like([weights])[0])] * 2
    state = [target.like(moving)] * 2
    step = jax.value_and_grad(loss, has_aux=True)
    return target.compiled(step, (parameters, state, target.data(shape, precision)))


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
        target = _tpu.Target(chip, number)
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
        target = _tpu.Target(chip)
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


def pod(numbers):
    """ResNet-50's SGD step in mixed bfloat16, 64 pictures a chip: cycles, memory, collectives."""
    import keras

    from keras_bigbatch.layers import to_ghost

    keras.config.set_dtype_policy("mixed_bfloat16")
    plain = keras.applications.ResNet50(weights=None, input_shape=(224, 224, 3))
    rows = []
    for number in numbers:
        for contender, model in (("Keras", plain), ("ghost", to_ghost(plain, 32))):
            target = _tpu.Target("v5e", number)
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


def sgd_step(target, model, batch):
    """One update with momentum of an image classifier."""
    import jax
    import keras

    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)

    def loss(values, moving, x, labels):
        outputs, moving = model.stateless_call(values, moving, x, training=True)
        losses = keras.ops.sparse_categorical_crossentropy(labels, outputs)
        return keras.ops.mean(losses), moving

    def step(values, moving, state, x, labels):
        run = jax.value_and_grad(loss, has_aux=True)
        (value, moving), gradients = run(values, moving, x, labels)
        values, state = optimizer.stateless_apply(state, gradients, values)
        return value, values, moving, state

    kept = (model.trainable_variables, model.non_trainable_variables, optimizer.variables)
    arguments = [target.like(each) for each in kept]
    data = (target.data((batch, *model.input_shape[1:])), target.data((batch,), "int32"))
    outputs = (target.whole, *([target.whole] * len(each) for each in kept))
    options = {"donate_argnums": (0, 1, 2)}
    return target.compiled(step, (*arguments, *data), outputs, **options)


def environment():
    """Versions of what the figures depend on."""
    names = ("jax", "jaxlib", "libtpu", "keras", "keras-bigbatch")
    return {name: importlib.metadata.version(name) for name in names}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("layers", "instructions", "pod"))
    parser.add_argument("--chips", nargs="+", default=list(_tpu.CHIPS), choices=list(_tpu.CHIPS))
    parser.add_argument("--cases", nargs="+", default=[""], help="beginnings of names of layers")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    parser.add_argument("--numbers", nargs="+", type=int, help="of chips (1; pod: 1 8 256)")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser.parse_args()


def main():
    arguments = parse()
    if importlib.util.find_spec("libtpu") is None:
        sys.exit("libtpu is not installed: `make test-compiled` installs it into .venv-compiled.")
    _tpu.prepare(instructions=arguments.part == "instructions")
    names = [name for name in LAYERS if name.startswith(tuple(arguments.cases))]
    if arguments.part == "layers":
        rows = layers(arguments.chips, (arguments.numbers or [1])[0], names, arguments.precisions)
    elif arguments.part == "instructions":
        rows = instructions(arguments.chips, names, arguments.precisions)
    else:
        rows = pod(arguments.numbers or [1, 8, 256])
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"environment": environment(), "rows": rows}, indent=1)
        arguments.json.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
