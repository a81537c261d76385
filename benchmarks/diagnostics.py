"""What each instrument costs: passes over the data, seconds beside an epoch, and extra memory.

A dense network of about a million weights on random data. The epoch is the second of `fit` at the
same batch. The seconds of an instrument are those of the whole call, its compilation included.
Memory is how much the process's peak rises above what it holds before the call (on Linux).

    python benchmarks/diagnostics.py --backend jax --all-cores
"""

import argparse
import ctypes
import gc
import json
import os
import time
from pathlib import Path

from _measure import import_keras, kilobytes

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--backend", choices=["jax", "tensorflow", "torch"], help="or KERAS_BACKEND"
    )
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--width", type=int, default=700, help="units of the two hidden layers")
    parser.add_argument("--passes", type=int, default=24, help="of a search for a sharpness")
    parser.add_argument("--subspace", type=int, default=100, help="its dimension")
    parser.add_argument(
        "--draws",
        type=int,
        default=10,
        help="of trace and noise scale; of the potential eight times as many",
    )
    parser.add_argument("--points", type=int, default=10, help="of the linear path")
    parser.add_argument("--all-cores", action="store_true", help="instead of one thread")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def instruments(options, model, x, y, start):
    """By name the call, and how to read the passes over the data from its result."""
    from keras_bigbatch import diagnostics

    data = (model, x, y)
    batch = {"batch_size": options.batch, "verbose": 0}
    search = {**batch, "max_iterations": options.passes, "starts": 1}
    large = options.samples // 4
    points = [i / options.points for i in range(options.points)]
    return {
        "hessian_eigenvalues": (
            lambda: diagnostics.hessian_eigenvalues(*data, **batch),
            lambda found: found.passes,
        ),
        "hessian_trace": (
            lambda: diagnostics.hessian_trace(*data, options.draws, **batch),
            lambda found: found.draws,
        ),
        "sharpness": (
            lambda: diagnostics.sharpness(*data, **search),
            lambda found: found.passes,
        ),
        "sharpness, ascent only": (
            lambda: diagnostics.sharpness(*data, maximizer="ascent", **search),
            lambda found: found.passes,
        ),
        f"sharpness, subspace {options.subspace}": (
            lambda: diagnostics.sharpness(*data, subspace=options.subspace, **search),
            lambda found: found.passes,
        ),
        "linear_path": (
            lambda: diagnostics.linear_path(
                model, start, model.get_weights(), x, y, points, **batch
            ),
            lambda found: len(found.alphas),
        ),
        "random_potential": (
            lambda: diagnostics.random_potential(*data, draws=8 * options.draws, bins=4, **batch),
            lambda found: len(found.draws),
        ),
        "gradient_noise_scale": (
            lambda: diagnostics.gradient_noise_scale(
                *data, large // 10, large, draws=options.draws, verbose=0
            ),
            lambda found: found.draws * large / options.samples,
        ),
    }


def measured(call):
    """The result, its seconds, and its bytes above those before; None where they are not known."""
    gc.collect()
    known = RESET.exists()
    if known:
        # What earlier calls have freed would else be in the figure from before.
        getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
        RESET.write_text("5")
        before = kilobytes(STATUS, "VmRSS")
    began = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - began
    return found, seconds, 1024 * (kilobytes(STATUS, "VmHWM") - before) if known else None


def main():
    options = arguments()
    if options.all_cores:
        if options.backend:
            os.environ["KERAS_BACKEND"] = options.backend
        import keras
    else:
        keras = import_keras(options.backend)
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.samples, 784)).astype("float32")
    y = (x @ rng.normal(size=(784, 10))).argmax(1)
    keras.utils.set_random_seed(0)
    layers = keras.layers
    hidden = [layers.Dense(options.width, "tanh") for _ in range(2)]
    model = keras.Sequential([layers.Input((784,)), *hidden, layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)
    start = model.get_weights()

    def fit():
        model.fit(x, y, batch_size=options.batch, epochs=1, verbose=0)

    fit()
    _, epoch, _ = measured(fit)
    figures = {
        "backend": keras.backend.backend(),
        "weights": model.count_params(),
        "samples": options.samples,
        "epoch seconds": epoch,
        "instruments": {},
    }
    vector = 4 * model.count_params()
    print(
        f"{figures['backend']}, {figures['weights']:,} weights of {vector / 1e6:.1f} MB, "
        f"{options.samples:,} samples; an epoch takes {epoch:.2f} s"
    )
    heads = ("passes", "seconds", "epochs", "epochs/pass", "extra MB")
    print(f"{'':24}" + "".join(f"{head:>12}" for head in heads))
    for name, (call, passes_of) in instruments(options, model, x, y, start).items():
        found, seconds, extra = measured(call)
        passes = passes_of(found)
        figures["instruments"][name] = {"passes": passes, "seconds": seconds, "extra bytes": extra}
        memory = "" if extra is None else f"{extra / 1e6:.0f}"
        print(
            f"{name:24}{passes:>12g}{seconds:>12.1f}{seconds / epoch:>12.1f}"
            f"{seconds / epoch / passes:>12.2f}{memory:>12}",
            flush=True,
        )
        del found
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
