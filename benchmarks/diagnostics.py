"""What the Hessian instruments cost: seconds, passes over the data, and extra memory.

A dense network of about a million weights on random data. The epoch is the second
of `fit` at the same batch; the seconds of an instrument are those of the whole call, its
compilation included. Memory is how much the process's peak rose above that of training.

    python benchmarks/diagnostics.py --backend jax
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

from _measure import import_keras


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--backend", choices=["jax", "tensorflow", "torch"], help="or KERAS_BACKEND"
    )
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=700, help="units of the two hidden layers")
    parser.add_argument("--draws", type=int, default=10, help="of the trace")
    parser.add_argument("--all-cores", action="store_true", help="instead of one thread")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def peak():
    """Bytes of the process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    options = arguments()
    if options.all_cores:
        if options.backend:
            os.environ["KERAS_BACKEND"] = options.backend
        import keras
    else:
        keras = import_keras(options.backend)
    import numpy as np

    from keras_bigbatch.diagnostics import hessian_eigenvalues, hessian_trace

    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.samples, 784)).astype("float32")
    y = (x @ rng.normal(size=(784, 10))).argmax(1)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = [layers.Dense(options.width, "tanh") for _ in range(2)]
    model = keras.Sequential([layers.Input((784,)), *hidden, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)

    def fit():
        began = time.perf_counter()
        model.fit(x, y, batch_size=options.batch, epochs=1, verbose=0)
        return time.perf_counter() - began

    fit()
    epoch = fit()
    before = peak()
    began = time.perf_counter()
    found = hessian_eigenvalues(model, x, y, batch_size=options.batch)
    first = time.perf_counter() - began
    memory = peak() - before
    began = time.perf_counter()
    trace = hessian_trace(model, x, y, draws=options.draws, batch_size=options.batch)
    trace_seconds = time.perf_counter() - began
    vector = 4 * model.count_params()
    figures = {
        "backend": keras.backend.backend(),
        "weights": model.count_params(),
        "samples": options.samples,
        "epoch seconds": epoch,
        "eigenvalue": float(found.values[0]),
        "eigenvalue passes": found.iterations,
        "eigenvalue seconds": first,
        "extra memory in weight vectors": memory / vector,
        "trace": trace.value,
        "trace standard error": trace.standard_error,
        "trace passes": trace.draws,
        "trace seconds": trace_seconds,
    }
    for name, value in figures.items():
        print(f"{name:<32}{value:>12.5g}" if isinstance(value, float) else f"{name:<32}{value:>12}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
