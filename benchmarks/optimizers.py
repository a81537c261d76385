"""One optimizer step over ResNet50's variables, as a ratio to Keras's SGD with momentum.

A step updates 214 variables of 25.6 million values from gradients that are there already, compiled
as `fit` compiles it (JAX: one program that may overwrite its inputs; TensorFlow: `tf.function`;
PyTorch: eager). In each round every optimizer makes one step, in turn, the order reversed every
other round; the figure is the median of the rounds' ratios, in CPU time of the process on one
thread, so that other programs disturb it little.

    python benchmarks/optimizers.py --backend torch --json benchmarks/results/optimizers/torch.json
"""

import argparse
import json
import time
from pathlib import Path

import _measure

# ResNet50's blocks: width, number of blocks.
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["jax", "tensorflow", "torch"])
    parser.add_argument("--jit", action="store_true", help="TensorFlow: jit_compile=True")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    return parser.parse_args()


def shapes():
    """Names and shapes of ResNet50's trainable variables, as in `keras.applications`."""
    convolutions = [(7, 7, 3, 64)]
    channels = 64
    for width, blocks in STAGES:
        for block in range(blocks):
            if block == 0:
                convolutions.append((1, 1, channels, 4 * width))
            convolutions += [(1, 1, channels, width), (3, 3, width, width)]
            convolutions.append((1, 1, width, 4 * width))
            channels = 4 * width
    for number, shape in enumerate(convolutions):
        yield f"conv_{number}/kernel", shape
        for name in ("conv_{}/bias", "bn_{}/gamma", "bn_{}/beta"):
            yield name.format(number), shape[-1:]
    yield from (("dense/kernel", (2048, 1000)), ("dense/bias", (1000,)))


def step_of(keras, optimizer, values, gradients, jit):
    """A function that makes one step and waits for it."""
    variables = []
    for path, value in values.items():
        scope, name = path.split("/")
        with keras.name_scope(scope):
            variables.append(keras.Variable(value, name=name))
    optimizer.build(variables)
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        # In Keras's order: JAX overwrites inputs with the outputs that come in the same order.
        compiled = jax.jit(
            lambda weights, state, slopes: optimizer.stateless_apply(state, slopes, weights),
            donate_argnums=(0, 1),
        )
        held = [[v.value for v in variables], [v.value for v in optimizer.variables]]

        def step():
            held[:] = compiled(*held, gradients)
            jax.block_until_ready(held)

        return step
    if backend == "torch":
        import torch

        def step():
            with torch.no_grad():
                optimizer.apply(gradients, variables)

        return step
    import tensorflow as tf

    traced = tf.function(
        lambda: optimizer.apply(gradients, variables), jit_compile=jit, autograph=False
    )

    def step():
        traced()
        variables[-1].value[0].numpy()

    return step


def main():
    options = parse()
    keras = _measure.import_keras(options.backend)
    import numpy as np

    from keras_bigbatch import optimizers

    rng = np.random.default_rng(0)
    values = {path: rng.normal(size=shape).astype("float32") for path, shape in shapes()}
    gradients = [keras.ops.convert_to_tensor(0.1 * value) for value in values.values()]
    sgd = keras.optimizers.SGD
    candidates = {
        "SGD, momentum": lambda: sgd(0.001, momentum=0.9),
        "SGD, decay": lambda: sgd(0.001, momentum=0.9, weight_decay=1e-4),
        "LARS": lambda: optimizers.LARS(0.001),
        "LARS, decay": lambda: optimizers.LARS(0.001, weight_decay=1e-4),
        "SGD, clipped always": lambda: sgd(0.001, momentum=0.9, global_clipnorm=5.0),
        "clipping, first updates": lambda: optimizers.ClipFirstUpdates(sgd(0.001, momentum=0.9)),
        "clipping, later": lambda: optimizers.ClipFirstUpdates(sgd(0.001, momentum=0.9), updates=0),
        "MCLR": lambda: optimizers.MCLR(0.001),
        "PercentDelta": lambda: optimizers.PercentDelta(0.001),
        "CBLR": lambda: optimizers.CBLR(0.001),
    }
    steps = {
        name: step_of(keras, make(), values, gradients, options.jit)
        for name, make in candidates.items()
    }
    for step in steps.values():
        step()  # compiles
        step()
    seconds = {name: [] for name in steps}
    for number in range(options.rounds):
        turn = list(steps.items())
        for name, step in turn if number % 2 else reversed(turn):
            begin = time.process_time()
            step()
            seconds[name].append(time.process_time() - begin)
    environment = _measure.environment(keras, options.jit, options.rounds)
    size = sum(value.size for value in values.values())
    print(f"{environment}\n{len(values)} variables of {size:,} values")
    base = "SGD, momentum"
    result = {"environment": environment, **_measure.ratios(seconds, base)}
    print(f"{base:26}{result['milliseconds']:8.1f} ms")
    for name, ratio in result["ratios"].items():
        print(f"{name:26}{_measure.cell(ratio)}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
