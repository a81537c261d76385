"""One training step of a normalization layer, as a ratio to Keras's own batch norm.

A step is the forward pass with the update of the moving statistics, and the backward pass to the
input, gamma and beta, as `fit` runs it on the backend. In each round every layer makes one step, in
turn; the figure is the median of the rounds' ratios, in CPU time of the process on one thread, so
that other programs disturb it little. `loop` is what Composer and TabNet do: split the batch, call
plain batch norm on each part, concatenate.

    python benchmarks/ghost_batch_normalization.py --backend torch --json result.json
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

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


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["jax", "tensorflow", "torch"])
    parser.add_argument("--jit", action="store_true", help="TensorFlow: jit_compile=True")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--no-loop", action="store_true", help="leave out the loop over groups")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    return parser.parse_args()


def one_thread():
    """Before anything is imported: every backend reads some of these only once."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def loop_layer(keras, virtual_batch, **options):
    """Plain batch norm on each part of the batch, as peers write it."""

    class Loop(keras.layers.BatchNormalization):
        def call(self, inputs, training=None):
            groups = inputs.shape[0] // virtual_batch
            cuts = [i * virtual_batch for i in range(1, groups)]
            parts = keras.ops.split(inputs, cuts)
            call = super().call
            return keras.ops.concatenate([call(part, training=training) for part in parts])

    return Loop(**options)


def step_of(backend, layer, shape, precision, jit):
    """A function of (x, dy) that makes one step and waits for it."""
    if backend == "jax":
        import jax

        variables = [v.value for v in layer.trainable_variables]
        moving = [v.value for v in layer.non_trainable_variables]

        @jax.jit
        def compiled(x, dy):
            def forward(variables, x):
                return layer.stateless_call(variables, moving, x, training=True)

            y, backward, moved = jax.vjp(forward, variables, x, has_aux=True)
            # Otherwise XLA would fuse the two passes, which a network's other layers separate.
            y, dy = jax.lax.optimization_barrier((y, dy))
            return y, backward(dy), moved

        return lambda x, dy: jax.block_until_ready(compiled(x, dy))
    if backend == "torch":

        def eager(x, dy):
            x.grad = None
            layer(x, training=True).backward(dy)

        return eager
    import tensorflow as tf

    def traced(x, dy):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        values = [v.value for v in layer.trainable_variables]
        return tape.gradient(y, [x, *values], output_gradients=dy)

    # `fit` traces for any batch size; the loop over groups cannot be traced so.
    batch = None if layer.name != "loop" else shape[0]
    spec = tf.TensorSpec((batch, *shape[1:]), precision)
    compiled = tf.function(traced, jit_compile=jit, input_signature=[spec, spec])
    return lambda x, dy: [tf.reshape(part, [-1])[0].numpy() for part in compiled(x, dy)]


def layers_of(keras, case, with_loop):
    """The layers to compare, the one to compare with first."""
    from keras_bigbatch import GhostBatchNormalization

    shape, axis, virtual_batch, precision = case
    policy = "float32" if precision == "float32" else f"mixed_{precision}"
    options = {"axis": axis, "dtype": policy}
    layers = {
        "Keras": keras.layers.BatchNormalization(**options),
        "ghost": GhostBatchNormalization(virtual_batch, **options),
    }
    if with_loop and shape[0] % virtual_batch == 0 and shape[0] > virtual_batch:
        layers["loop"] = loop_layer(keras, virtual_batch, name="loop", **options)
    for layer in layers.values():
        layer.build(shape)
    return layers


def measure(keras, case, options):
    """Milliseconds of Keras's batch norm, and the ratios to it."""
    import numpy as np

    backend = keras.backend.backend()
    shape, _, _, precision = case
    rng = np.random.default_rng(0)
    x, dy = (keras.ops.cast(rng.normal(size=shape), precision) for _ in range(2))
    if backend == "torch":
        x.requires_grad_()
    layers = layers_of(keras, case, not options.no_loop)
    steps = {
        name: step_of(backend, layer, shape, precision, options.jit)
        for name, layer in layers.items()
    }
    for step in steps.values():
        step(x, dy)  # compiles
    seconds = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            begin = time.process_time()
            step(x, dy)
            seconds[name].append(time.process_time() - begin)
    ratios = {
        name: [a / b for a, b in zip(times, seconds["Keras"], strict=True)]
        for name, times in seconds.items()
        if name != "Keras"
    }
    result = {"keras_ms": 1e3 * statistics.median(seconds["Keras"])}
    for name, values in ratios.items():
        low, middle, high = statistics.quantiles(values, n=4)
        result[name] = {"ratio": middle, "quartiles": [low, high]}
    return result


def environment(keras, options):
    """What the figures depend on."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    )
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    backend = keras.backend.backend()
    return {
        "backend": backend,
        "jit": options.jit if backend == "tensorflow" else backend == "jax",
        "version": sys.modules[backend].__version__,
        "keras": keras.__version__,
        "cpu": models[0] if models else platform.processor(),
        "threads": 1,
        "rounds": options.rounds,
    }


def main():
    options = parse()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    one_thread()
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    context = environment(keras, options)
    print(", ".join(f"{name} {value}" for name, value in context.items()))
    print(f"{'':22}{'Keras':>10}   {'ghost / Keras':24}loop / Keras")
    results = {}
    for name, case in CASES.items():
        result = results[name] = measure(keras, case, options)
        cells = [
            f"{r['ratio']:.2f} ({r['quartiles'][0]:.2f} to {r['quartiles'][1]:.2f})"
            for r in (result.get("ghost"), result.get("loop"))
            if r
        ]
        print(
            f"{name:22}{result['keras_ms']:7.1f} ms   {cells[0]:24}{''.join(cells[1:])}", flush=True
        )
    if options.json:
        options.json.write_text(json.dumps({"environment": context, "cases": results}, indent=1))


if __name__ == "__main__":
    main()
