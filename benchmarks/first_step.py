"""The first training step of ResNet-50, which traces and compiles it, beside one with Keras's norm.

Each in a new process, as what was traced or compiled once may be there for the next. Its seconds
are the processor's, of all threads. With 53 ghost batch norms of two groups.

    python benchmarks/first_step.py --backend tensorflow
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import _measure


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["jax", "tensorflow", "torch"])
    parser.add_argument("--rounds", type=int, default=3, help="two or more")
    parser.add_argument("--process", choices=["Keras", "ghost"], help=argparse.SUPPRESS)
    return parser.parse_args()


def first_step(backend, norm):
    """Seconds of the first step, after one of a model that is as small as can be."""
    keras = _measure.import_keras(backend)
    import numpy as np

    from keras_bigbatch.layers import to_ghost

    tiny = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    tiny.compile("sgd", "mse")
    tiny.train_on_batch(np.zeros((2, 3)), np.zeros((2, 1)))
    model = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    if norm == "ghost":
        model = to_ghost(model, virtual_batch=4)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    x, y = np.zeros((8, 32, 32, 3), "float32"), np.zeros(8, "int32")
    begin = time.process_time()
    model.train_on_batch(x, y)
    return time.process_time() - begin


def main():
    options = parse()
    backend = options.backend or os.environ.get("KERAS_BACKEND", "jax")
    if options.process:
        print(first_step(backend, options.process))
        return
    seconds = {"Keras": [], "ghost": []}
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    root = Path(__file__).resolve().parent.parent
    environment["PYTHONPATH"] = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    for _ in range(options.rounds):
        for norm, measured in seconds.items():
            command = [sys.executable, __file__, "--backend", backend, "--process", norm]
            printed = subprocess.check_output(command, text=True, env=environment)
            measured.append(float(printed.split()[-1]))
    found = _measure.ratios(seconds)
    print(
        f"{backend}: a first step {found['milliseconds'] / 1e3:.1f} s, with ghost batches "
        f"{_measure.cell(found['ratios']['ghost'])} times that"
    )


if __name__ == "__main__":
    main()
