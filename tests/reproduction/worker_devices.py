"""What a training on several devices finds; it prints that as JSON.

Arguments: the engine, and the devices: parts of the CPU, or ranks of DDP, which are forks.
"""

import dataclasses
import json
import os
import socket
import sys

import keras
import numpy as np

from reproduction.data.arrays import Data
from reproduction.data.shares import Shares
from reproduction.devices import distributed
from reproduction.experiment import Setting
from reproduction.recipes.demo import small_batch_regime

LARGE_BATCH = 24


def setting(examples=65):
    """Signals whose scale varies, so that no two ghost batches are alike."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(74, 16, 1)) * rng.uniform(0.2, 3, (74, 1, 1))
    x, y = x.astype("float32"), rng.integers(0, 3, 74).astype("int32")
    data = Data("signals", 3, "test", x[:examples], y[:examples], x[65:], y[65:])
    regime = small_batch_regime(16, 4, data.examples, 0.05)
    return Setting(data, regime, LARGE_BATCH, 4, 1.0, (16, LARGE_BATCH), network=network)


def network(shape, classes, norm):
    """Dense layers, which compile fast; the gradient's norm is above that which is clipped."""
    hidden = keras.layers.Dense(8, use_bias=False)
    scaled = keras.layers.Rescaling(20.0)
    layers = [keras.layers.Flatten(), hidden, norm(), keras.layers.ReLU(), scaled]
    return keras.Sequential([keras.Input(shape), *layers, keras.layers.Dense(classes)])


def on_one_device(devices):
    """The setting, with the order that the samples have on several."""
    plain = setting()
    return dataclasses.replace(plain, data=Shares(plain.data, devices))


def train(setting, norm):
    """The large batch: of each epoch's three, the last is partial and leaves a sample out."""
    plan = setting.regime.at(LARGE_BATCH, rule="sqrt", stretch=1)
    progress = keras.callbacks.Callback()
    result = setting.case("LB", plan, norm).run(3, progress)
    result["weights"] = [weight.ravel().tolist() for weight in progress.model.get_weights()]
    return result


def spread(result):
    """How far the weights of the ranks are apart."""
    from torch import distributed as group

    flat = np.concatenate(result["weights"])
    everyone = [None] * group.get_world_size()
    group.all_gather_object(everyone, flat)
    return max(float(np.abs(flat - other).max()) for other in everyone)


def ranks(count):
    """Starts all ranks of DDP, as torchrun does; this process has imported what they need."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    started = []
    for rank in range(count):
        started.append(os.fork())
        if started[-1] == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            # A rank ends as a program of its own does: `leave_group` waits for its exit.
            return main("ddp")
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in started]
    assert not any(codes), f"exit statuses of the ranks: {codes}"


def main(engine):
    if engine == "mirrored":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[2])
        tf.config.set_logical_device_configuration(cpu, parts)
    many = distributed(setting(), engine)
    found = {"result": train(many, many.ghost)}
    if engine == "ddp":
        # Keras's batch norm, of which every rank has moved its own statistics.
        found["spread"] = spread(train(many, many.plain))
    found["left"] = keras.distribution.distribution() is None
    print("\nRESULTS " + json.dumps(found), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "ddp":
        ranks(int(sys.argv[2]))
    else:
        main(sys.argv[1])
