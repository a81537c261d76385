"""What the rest of the package costs: importing it, converting a model, a schedule's every step.

- import: `import keras_bigbatch` after `import keras`, each time in a new process.
- `to_ghost` on ResNet50, beside building ResNet50.
- an update of `fit` with a scaled and stretched schedule, as a ratio to Keras's own schedule. The
  model is as small as can be, so that a real one's ratio is nearer to 1.

    python benchmarks/overheads.py --backend jax
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

import _measure


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=["jax", "tensorflow", "torch"])
    parser.add_argument("--rounds", type=int, default=11)
    return parser.parse_args()


def import_milliseconds(rounds):
    code = (
        "import time, keras; begin = time.perf_counter(); import keras_bigbatch; "
        "print(time.perf_counter() - begin)"
    )
    # Compiled files are kept, as installed packages have them; the first import makes them.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    command = [sys.executable, "-c", code]
    seconds = [
        float(subprocess.check_output(command, text=True, env=environment).split()[-1])
        for _ in range(rounds + 1)
    ][1:]
    return 1e3 * statistics.median(seconds)


def conversion_seconds(keras):
    from keras_bigbatch.layers import to_ghost

    begin = time.perf_counter()
    model = keras.applications.ResNet50(weights=None)
    built = time.perf_counter()
    to_ghost(model, 32)
    return built - begin, time.perf_counter() - built


def schedule_ratios(keras, rounds, updates=400):
    """Keras's milliseconds an update, and the ratio with our schedules around its own."""
    import numpy as np

    from keras_bigbatch import LearningRateScaler, RegimeStretch

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(updates * 8, 16)), rng.normal(size=(updates * 8, 1))

    def epoch(schedule):
        layers = keras.layers
        model = keras.Sequential([layers.Input((16,)), layers.Dense(16), layers.Dense(1)])
        model.compile(keras.optimizers.SGD(schedule), "mse")
        return lambda: model.fit(x, y, batch_size=8, epochs=1, verbose=0)

    def drops():
        return keras.optimizers.schedules.PiecewiseConstantDecay([1000, 2000], [0.01, 1e-3, 1e-4])

    ours = LearningRateScaler(
        RegimeStretch(drops(), 32, 256, stretch=8), 32, 256, warmup_updates=100
    )
    steps = {"Keras": epoch(drops()), "ghost": epoch(ours)}
    seconds = _measure.in_turn(steps, rounds, time.process_time)
    return _measure.ratios({name: [s / updates for s in times] for name, times in seconds.items()})


def main():
    options = parse()
    keras = _measure.import_keras(options.backend)
    context = _measure.environment(keras, jit=False, rounds=options.rounds)
    print(", ".join(f"{name} {value}" for name, value in context.items()))
    print(f"import beside Keras    {import_milliseconds(options.rounds):6.1f} ms")
    building, converting = conversion_seconds(keras)
    print(f"ResNet50               {building:6.2f} s to build, {converting:.2f} s to convert")
    schedules = schedule_ratios(keras, options.rounds)
    print(
        f"an update of fit       {schedules['milliseconds']:6.2f} ms, scaled and stretched "
        f"{_measure.cell(schedules['ratios']['ghost'])} times that"
    )


if __name__ == "__main__":
    main()
