r"""`keras.distribution` on JAX over several processes, as on several hosts or a TPU slice.

On this machine's CPU, 2 processes:  python jax_multi_process.py
On 2 hosts, on each of them:         python jax_multi_process.py \
    --coordinator FIRST_HOST:12345 --processes 2 --process 0     (1 on the second host)
"""

import argparse
import os
import socket
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "jax"


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="the first process's address")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--process", type=int, help="this one's number, from 0")
    parser.add_argument("--epochs", type=int, default=8)
    return parser.parse_args()


def launch(arguments):
    """Starts all processes on this machine. Returns the first nonzero exit status, or 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, *sys.argv, "--coordinator", coordinator, "--process"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    numbers = range(arguments.processes)
    started = [subprocess.Popen([*command, str(n)], env=environment) for n in numbers]
    return next((process.returncode for process in started if process.wait()), 0)


if __name__ == "__main__":
    arguments = parse()
    if arguments.process is None:
        sys.exit(launch(arguments))

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_bigbatch as kbb


def train(arguments):
    """Trains on this process's part of every batch; the first process prints."""
    # Must come first, so that JAX sees the devices of all processes.
    keras.distribution.initialize(arguments.coordinator, arguments.processes, arguments.process)
    # Each process provides its own part of a batch, so Keras does not split the data.
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(
            devices=keras.distribution.list_devices(), auto_shard_dataset=False
        )
    )
    keras.utils.set_random_seed(0)

    x, y = load_digits(return_X_y=True)
    x, y = x[:1536].reshape(-1, 8, 8, 1).astype("float32") / 16, y[:1536].astype("int32")
    regime = kbb.Regime(batch=32, epochs=arguments.epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=256, stretch=1)  # the global batch of all processes
    local = plan.batch // arguments.processes
    own = np.arange(1536).reshape(-1, arguments.processes, local)[:, arguments.process].ravel()

    model = keras.Sequential([keras.Input((8, 8, 1))])
    for _ in range(2):
        model.add(keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
        # The layer sees the global batch of 256, which is 32 samples on each of 8 devices.
        model.add(kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(10))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(plan.learning_rate, momentum=0.9), loss)
    distance = kbb.WeightDistance()
    fit = {"batch_size": local, "epochs": plan.epochs, "shuffle": False, "verbose": 0}
    history = model.fit(x[own], y[own], callbacks=[plan.callback(), distance], **fit).history
    if arguments.process == 0:
        devices = len(keras.distribution.list_devices())
        print(f"{arguments.processes} processes, {devices} devices, {plan.updates} updates")
        print(f"weight_distance: {distance.history['distance'][-1]:.6f}")
        print(f"training loss: {history['loss'][-1]:.6f}")


if __name__ == "__main__":
    train(arguments)
