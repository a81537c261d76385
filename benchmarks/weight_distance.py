"""What WeightDistance costs at its default cadence: epochs with and without it, side by side.

Both arms train the same model on the same data; a round is an epoch of each, in alternating order,
and the cost is the median of the rounds' ratios, so that a machine that speeds up or slows down
does not count. "first" is the first epoch of a training, where the log-spaced measurements are
densest, with the copy of the weights; "later" is the twelfth. Seconds are wall time; the CPU ratio
is of the process's own time on all cores. Where other programs run, both waver by more than the
callback costs. "alone" is a measurement timed outside `fit`, times their number, over the epoch: a
lower bound, since inside an epoch on JAX Keras must gather its state for one. For what one costs
there, measure so often that it shows, with `--frequency 1 --steps 200`, and divide the difference
of the seconds by the updates. (PyTorch on busy cores: set OMP_NUM_THREADS=1.)

    python benchmarks/weight_distance.py --backend jax
"""

import argparse
import importlib.metadata
import os
import platform
import statistics
import time


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--backend", choices=["jax", "tensorflow", "torch"], help="or KERAS_BACKEND"
    )
    parser.add_argument("--batch", type=int, default=256, help="samples in an update")
    parser.add_argument("--steps", type=int, default=400, help="updates in an epoch")
    parser.add_argument("--width", type=int, default=256, help="units of a layer")
    parser.add_argument(
        "--frequency", type=int, help="measure every so many updates, not log-spaced"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120, help="no new round after this")
    return parser.parse_args()


def small_network(keras, width):
    """Five dense layers with batch norm, as the paper's F1."""
    layers = keras.layers
    stack = [layers.Input((784,))]
    for _ in range(5):
        stack += [layers.Dense(width), layers.BatchNormalization(), layers.ReLU()]
    return keras.Sequential([*stack, layers.Dense(10)])


def main():
    options = arguments()
    if options.backend:
        os.environ["KERAS_BACKEND"] = options.backend
    import keras
    import numpy as np

    from keras_bigbatch import WeightDistance

    began = time.perf_counter()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(options.batch * options.steps, 784)).astype("float32")
    y = rng.integers(0, 10, len(x))

    class Clock(keras.callbacks.Callback):
        """The time at the beginning and, as the last callback, at each epoch's end."""

        def __init__(self):
            super().__init__()
            self.times = [(time.perf_counter(), time.process_time())]

        def on_epoch_end(self, epoch, logs=None):  # noqa: ARG002
            self.times.append((time.perf_counter(), time.process_time()))

    def arm(callbacks):
        model = small_network(keras, options.width)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9), loss)

        def epoch(epochs_before):
            """Wall and CPU seconds of the last epoch of a `fit`."""
            model.optimizer.iterations.assign(epochs_before * options.steps)
            clock = Clock()
            model.fit(
                x,
                y,
                batch_size=options.batch,
                epochs=2 if epochs_before else 1,
                verbose=0,
                callbacks=[*callbacks, clock],
            )
            return [now - before for before, now in zip(*clock.times[-2:], strict=True)]

        return model, epoch

    model, plain = arm([])
    callback = WeightDistance(options.frequency or "log")
    _, watched = arm([callback])
    plain(0), watched(0)  # Compiles.

    phases = {"first": 0, "later": 10}
    seconds = {phase: ([], []) for phase in phases}
    points = {}
    for number in range(options.rounds):
        for phase, before in phases.items():
            pair = ((plain, seconds[phase][0]), (watched, seconds[phase][1]))
            for epoch, into in pair if number % 2 else reversed(pair):
                into.append(epoch(before))
            last_epoch = callback.history["update"][-1] - options.steps
            points[phase] = sum(update > last_epoch for update in callback.history["update"])
        if time.perf_counter() - began > options.seconds:
            break

    # By itself, after a training: w_0 and the first epoch's begin, then epochs' ends.
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    alone = []
    for _ in range(100):
        start = time.perf_counter()
        callback.on_epoch_end(0, {})
        alone.append(time.perf_counter() - start)
    measurement = statistics.median(alone)

    backend = keras.backend.backend()
    print(
        f"{backend} {version(backend)}, keras {keras.version()}, numpy {np.__version__}; "
        f"{platform.machine()}, {os.cpu_count()} cores\n{model.count_params():,} parameters in "
        f"{len(model.weights)} tensors, batch {options.batch}, {options.steps} updates an epoch, "
        f"{number + 1} rounds; one measurement alone: {measurement * 1e3:.2f} ms"
    )
    print(
        f"{'epoch':<8}{'measurements':>12}{'without':>11}{'with':>11}    ratio (quartiles)     "
        "      CPU ratio   alone"
    )
    for phase, (without, with_it) in seconds.items():
        wall, cpu = ([b[i] / a[i] for a, b in zip(without, with_it, strict=True)] for i in (0, 1))
        low, middle, high = statistics.quantiles(wall, n=4) if len(wall) > 1 else wall * 3
        times = [statistics.median(wall for wall, _ in arm) for arm in (without, with_it)]
        print(
            f"{phase:<8}{points[phase]:>12}{times[0]:>9.3f} s{times[1]:>9.3f} s"
            f"{middle:>9.4f} ({low:.4f} to {high:.4f}){statistics.median(cpu):>12.4f}"
            f"{points[phase] * measurement / times[0]:>8.2%}"
        )


def version(backend):
    for name in (backend, f"{backend}-cpu"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "(unknown version)"


if __name__ == "__main__":
    main()
