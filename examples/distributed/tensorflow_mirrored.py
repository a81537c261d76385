r"""TensorFlow's MirroredStrategy with `fit`, and two things that Keras's `fit` cannot do under it.

On this machine's CPU, as 2 devices:  python examples/distributed/tensorflow_mirrored.py
On all GPUs of a machine:             the same
Micro-batches (less memory):          python examples/distributed/tensorflow_mirrored.py \
    --micro-batches 2
Two processes, with a custom loop:    python examples/distributed/tensorflow_mirrored.py \
    --workers 2
On 2 hosts:                           the same without --workers, with TF_CONFIG set as TensorFlow
    describes it, on each of them

Keras refuses `gradient_accumulation_steps` with more than one replica, and its `fit` fails under
MultiWorkerMirroredStrategy. `MicroBatchModel` and `custom_loop` are the ways round.
"""

# ruff: noqa: E402 (Keras reads its backend when it is imported, and a launcher needs no Keras)

import argparse
import json
import os
import socket
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"


def parse():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", type=int, default=2, help="parts of the CPU, without GPUs")
    parser.add_argument("--micro-batches", type=int, default=1, help="parts of a replica's batch")
    parser.add_argument("--workers", type=int, default=1, help="processes on this machine")
    parser.add_argument("--epochs", type=int, default=8)
    return parser.parse_args()


def launch(workers):
    """Starts all workers on this machine; the first one's exit status that is not 0."""
    ports = []
    for _ in range(workers):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(f"127.0.0.1:{free.getsockname()[1]}")
    started = []
    for index in range(workers):
        task = {"cluster": {"worker": ports}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
        started.append(subprocess.Popen([sys.executable, *sys.argv], env=environment))
    return next((process.returncode for process in started if process.wait()), 0)


if __name__ == "__main__" and "TF_CONFIG" not in os.environ and parse().workers > 1:
    sys.exit(launch(parse().workers))

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

BATCH = 256  # of all replicas together


# --8<-- [start:micro]
class MicroBatchModel(keras.Model):
    """A model that goes through a replica's batch in parts, and makes one update of all of them."""

    micro_batches = 1

    def train_step(self, data):
        """One update; the virtual batch must divide a part for the same ghost batches."""
        x, y = (tf.split(each, self.micro_batches) for each in data)
        weights = self.trainable_weights
        total = [tf.zeros_like(weight) for weight in weights]
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        for part_x, part_y in zip(x, y, strict=True):
            with tf.GradientTape() as tape:
                outputs = self(part_x, training=True)
                loss = self.compute_loss(part_x, part_y, outputs) / self.micro_batches
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, [weight.value for weight in weights])
            total = [a + b for a, b in zip(total, gradients, strict=True)]
            for metric in self.metrics:
                if metric.name == "loss":  # Keras has divided the loss by the replicas
                    metric.update_state(loss * (self.micro_batches * replicas))
                else:
                    metric.update_state(part_y, outputs)
        self.optimizer.apply_gradients(zip(total, weights, strict=True))
        return self.get_metrics_result()


# --8<-- [end:micro]
# --8<-- [start:loop]
def custom_loop(strategy, model, x, y, epochs, callbacks):
    """What `fit` does, by hand, for strategies with which Keras's `fit` fails."""
    loss_of = model.compute_loss

    @tf.function
    def update(batch):
        def step(x, y):
            with tf.GradientTape() as tape:
                loss = loss_of(x, y, model(x, training=True))
            weights = model.trainable_variables
            gradients = tape.gradient(loss, [weight.value for weight in weights])
            model.optimizer.apply_gradients(zip(gradients, weights, strict=True))
            return loss

        return strategy.reduce("SUM", strategy.run(step, batch), axis=None)

    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH, drop_remainder=True)
    options = tf.data.Options()
    # Each worker reads everything, and takes its part of every batch.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    data = strategy.experimental_distribute_dataset(data.with_options(options))
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for number, batch in enumerate(data):
            callbacks.on_train_batch_begin(number)
            loss = update(batch)
            callbacks.on_train_batch_end(number)
        logs = {"loss": float(loss)}
        callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end()


# --8<-- [end:loop]
def build(plan, micro_batches):
    """The model, compiled; to be called in the strategy's scope."""
    inputs = outputs = keras.Input((8, 8, 1))
    for _ in range(2):
        outputs = keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False)(outputs)
        # Cut from each replica's part of the batch.
        outputs = kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9)(outputs)
        outputs = keras.layers.ReLU()(outputs)
    outputs = keras.layers.Dense(10)(keras.layers.Flatten()(outputs))
    if micro_batches == 1:
        model = keras.Model(inputs, outputs)
    else:
        model = MicroBatchModel(inputs, outputs)
        model.micro_batches = micro_batches
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(plan.learning_rate, momentum=0.9)
    sgd.build(model.trainable_variables)
    model.compile(sgd, loss, metrics=["accuracy"])
    return model


def make_strategy(devices):
    """The strategy for what is there: other hosts, GPUs, or parts of this CPU."""
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if tf.config.list_physical_devices("GPU"):
        return tf.distribute.MirroredStrategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * devices
    tf.config.set_logical_device_configuration(cpu, parts)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(devices)])


def main():
    """Trains, and prints what can be compared with a run on other devices."""
    arguments = parse()
    strategy = make_strategy(arguments.devices)
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")
    x, y, test_x, test_y = x[:1536], y[:1536], x[1536:], y[1536:]
    regime = kbb.Regime(batch=32, epochs=arguments.epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=BATCH, stretch=1)  # the global batch, however many replicas share it

    with strategy.scope():
        model = build(plan, arguments.micro_batches)
    distance = kbb.WeightDistance()
    if "TF_CONFIG" in os.environ:
        custom_loop(strategy, model, x, y, plan.epochs, [distance])
    else:
        fit = {"batch_size": BATCH, "epochs": plan.epochs, "shuffle": False, "verbose": 0}
        model.fit(x, y, callbacks=[distance], **fit)
    outputs = keras.ops.convert_to_numpy(model(test_x, training=False))
    accuracy = np.mean(outputs.argmax(-1) == test_y)
    if json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {}).get("index", 0) == 0:
        print(f"{strategy.num_replicas_in_sync} replicas, batch {BATCH}, {plan.updates} updates")
        print(f"weight_distance: {distance.history['distance'][-1]:.6f}")
        print(f"test accuracy: {accuracy:.4f}", flush=True)


if __name__ == "__main__":
    main()
