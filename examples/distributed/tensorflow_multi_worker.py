"""TensorFlow's MultiWorkerMirroredStrategy with a custom loop, since Keras's `fit` fails under it.

On this machine's CPU, two processes:  python tensorflow_multi_worker.py
On 2 hosts:                            the same with TF_CONFIG set as TensorFlow describes it
"""

import argparse
import json
import os
import socket
import subprocess
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"


def parse():
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2, help="processes, without TF_CONFIG")
    parser.add_argument("--epochs", type=int, default=8)
    return parser.parse_args()


def launch(workers):
    """Starts all workers on this machine. Returns the first nonzero exit status, or 0."""
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


if __name__ == "__main__" and "TF_CONFIG" not in os.environ:
    sys.exit(launch(parse().workers))

import keras
import tensorflow as tf
from sklearn.datasets import load_digits

import keras_bigbatch as kbb

BATCH = 256  # over all replicas


# --8<-- [start:loop]
def custom_loop(strategy, model, x, y, epochs, callbacks):
    """Does what `fit` does, for strategies under which Keras's `fit` fails."""
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
    # Each worker reads all the data, and takes its part of every batch.
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
        callbacks.on_epoch_end(epoch, {"loss": float(loss)})
    callbacks.on_train_end()


# --8<-- [end:loop]
def main():
    """Trains. The first worker prints numbers to compare with a run on other devices."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = x.reshape(-1, 8, 8, 1).astype("float32") / 16, y.astype("int32")
    x, y, test_x, test_y = x[:1536], y[:1536], x[1536:], y[1536:]
    regime = kbb.Regime(batch=32, epochs=parse().epochs, examples=1536, learning_rate=0.05)
    plan = regime.at(batch=BATCH, stretch=1)  # the global batch, however many replicas share it

    with strategy.scope():
        model = keras.Sequential([keras.Input((8, 8, 1))])
        for _ in range(2):
            model.add(keras.layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
            # Ghost batches come from each replica's part of the batch.
            model.add(kbb.GhostBatchNormalization(virtual_batch=32, momentum=0.9))
            model.add(keras.layers.ReLU())
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(10))
        sgd = keras.optimizers.SGD(plan.learning_rate, momentum=0.9)
        sgd.build(model.trainable_variables)
        model.compile(sgd, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    distance = kbb.WeightDistance()
    custom_loop(strategy, model, x, y, plan.epochs, [distance])
    outputs = keras.ops.convert_to_numpy(model(test_x, training=False))
    if json.loads(os.environ["TF_CONFIG"])["task"]["index"] == 0:
        print(f"{strategy.num_replicas_in_sync} replicas, batch {BATCH}, {plan.updates} updates")
        print(f"weight_distance: {distance.history['distance'][-1]:.6f}")
        print(f"test accuracy: {(outputs.argmax(-1) == test_y).mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
